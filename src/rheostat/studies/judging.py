"""From intervals to verdicts, by one rule for every claim."""

from collections.abc import Mapping, Sequence

from rheostat.metrics.statistics import Interval, Values, paired_difference
from rheostat.studies.record import Measurement, VerdictName


def measurement(
    model: str,
    quantity: str,
    difference: Interval,
    *,
    control: float,
    unit: str,
    control_name: str,
) -> Measurement:
    """Make a measurement of the interval of effect − control and the control's own value."""
    return Measurement(
        model=model,
        quantity=quantity,
        effect=difference.value + control,
        control=control,
        low=difference.low,
        high=difference.high,
        n=difference.n,
        unit=unit,
        control_name=control_name,
    )


def against(
    model: str, quantity: str, effect: Values, controls: Mapping[str, Values], *, unit: str, seed: int
) -> list[Measurement]:
    """Return one measurement per control: the mean effect, and the interval of its paired difference from the control.

    Args:
        model: its name.
        quantity: what was measured, with its unit.
        effect: per resampled unit.
        controls: by name, the same quantity of the same units.
        unit: what is resampled.
        seed: of the intervals.
    """
    return [
        measurement(
            model,
            quantity,
            paired_difference(effect, control, seed=seed),
            control=float(control.mean()),
            unit=unit,
            control_name=name,
        )
        for name, control in controls.items()
    ]


def judge(deciding: Sequence[Measurement], *, planted_found: bool) -> VerdictName:
    """Return the verdict on a claim from its deciding measurements over parts and models.

    reproduced: every interval lies above zero; partly: some do; contradicted: every one lies below zero; not: none lies
    above, and the planted case shows that an effect would have been seen; else it is not testable here.
    """
    above = [one.low > 0 for one in deciding]
    if not deciding:
        return "not testable here"
    if all(above):
        return "reproduced"
    if any(above):
        return "partly"
    if all(one.high < 0 for one in deciding):
        return "contradicted"
    return "not" if planted_found else "not testable here"


def compared(one: Measurement) -> str:
    """Return effect, control and the interval of their difference, for a section's text."""
    return f"{number(one.effect)} against {number(one.control)} ({one.control_name}; difference {interval(one)})"


def compared_all(found: Sequence[Measurement]) -> str:
    """Return sentences for a section's text: each quantity with its effect, then its controls and their intervals."""
    sentences = []
    for quantity, n in dict.fromkeys((one.quantity, one.n) for one in found):
        same = [one for one in found if (one.quantity, one.n) == (quantity, n)]
        controls = (f"{number(one.control)} ({one.control_name}; difference {interval(one)})" for one in same)
        sentences.append(
            f"{quantity[0].upper()}{quantity[1:]}, n = {n}: {number(same[0].effect)} against {', '.join(controls)}."
        )
    return " ".join(sentences)


def interval(one: Measurement) -> str:
    """Return the interval of effect − control."""
    return f"[{number(one.low)}, {number(one.high)}]"


def held(deciding: Sequence[Measurement]) -> str:
    """Count, per model, the deciding comparisons that hold, and name those that point the other way."""
    if not deciding:
        return "No comparison decides."
    models = dict.fromkeys(one.model for one in deciding)
    counts = []
    for model in models:
        mine = [one for one in deciding if one.model == model]
        counts.append(f"{sum(one.low > 0 for one in mine)} of {len(mine)} on {model}")
    opposite = dict.fromkeys(
        f"{one.quantity} against {one.control_name} ({one.model})" for one in deciding if one.high < 0
    )
    text = f"Comparisons above zero: {', '.join(counts)}."
    return text + (f" Below zero: {'; '.join(opposite)}." if opposite else "")


def number(value: float) -> str:
    """Return a number with three significant digits, without an exponent where it can be avoided."""
    if abs(value) < 1e-12:
        return "0"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"
