"""From intervals to verdicts, by one rule for every claim."""

from collections.abc import Sequence

from rheostat.metrics.statistics import Interval
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


def said(one: Measurement) -> str:
    """Return one measurement in words, for a reason or a section."""
    return (
        f"{one.model}: {one.quantity} {number(one.effect)}, {one.control_name or 'control'} {number(one.control)}, "
        f"difference {number(one.effect - one.control)} [{number(one.low)}, {number(one.high)}]"
    )


def held(deciding: Sequence[Measurement]) -> str:
    """Name what holds and what does not."""
    groups = {
        "Holds": [one for one in deciding if one.low > 0],
        "Opposite": [one for one in deciding if one.high < 0],
        "Not shown": [one for one in deciding if one.low <= 0 <= one.high],
    }
    return " ".join(f"{label}: {_named(group)}." for label, group in groups.items() if group)


def _named(group: Sequence[Measurement]) -> str:
    """List measurements, each once with the models it belongs to."""
    models: dict[str, list[str]] = {}
    for one in group:
        models.setdefault(f"{one.quantity} against {one.control_name}", []).append(one.model)
    return "; ".join(f"{what} ({', '.join(names)})" for what, names in models.items())


def number(value: float) -> str:
    """Return a number with three significant digits, without an exponent where it can be avoided."""
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"
