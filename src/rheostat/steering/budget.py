"""`strength_for`: the largest strength whose side effect on neutral text stays within a budget."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, log

import numpy as np
import pandas as pd

from rheostat.base.errors import BadArgument
from rheostat.base.shapes import Profile
from rheostat.edit.edit import Edit
from rheostat.edit.plan import Plan
from rheostat.engine.batch import as_prompts
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.steering.plan import Steering, as_steering_plan
from rheostat.steering.side_effects import Measure, SideEffects

FACTOR = 4.0
"""Between neighbouring strengths while the budget is bracketed."""
MOST_FACTORS = 14
"""How many factors from the first strength, up or down, are looked at."""


@dataclass(frozen=True)
class Budget:
    """The most that a measure may be."""

    measure: Measure
    most: float

    @property
    def none(self) -> float:
        """The measure of a plan that changes nothing."""
        return 0.0 if self.measure == "kl" else 1.0


@dataclass(frozen=True)
class StrengthSearch:
    """A strength chosen by its side effect, and how that grows with strength."""

    strength: float
    """The largest tried up to which all stay within the budget; 0 where none does. A factor of those in the plan."""
    measure: Measure
    budget: float
    value: float
    """The measure at `strength`."""
    exceeded: bool
    """Whether a larger strength was seen to exceed the budget; if not, `strength` is only the largest tried."""
    monotone: bool
    """Whether the measure never falls as strength grows; if not, a larger strength may be within the budget again."""
    curve: pd.DataFrame
    """Rows {strength, kl, kl_low, kl_high, perplexity_ratio, ratio_low, ratio_high, within}, by strength, 0 first; see
    `SideEffects.table`."""
    n_texts: int
    n_tokens: int
    """Tokens of the texts that the plan can reach, from the first that it edits on: those that the mean is over."""

    def profile(self) -> Profile:
        """Return the curve of the measure as a figure; strength 0 is left out."""
        low, high = ("kl_low", "kl_high") if self.measure == "kl" else ("ratio_low", "ratio_high")
        shown = self.curve[(self.curve["strength"] > 0) & np.isfinite(self.curve[self.measure])]
        shown = shown[shown["strength"] <= 4 * self.strength] if self.strength > 0 else shown
        table = pd.DataFrame(
            {
                "x": shown["strength"],
                "value": shown[self.measure],
                "series": "steered",
                "low": shown[low],
                "high": shown[high],
            }
        )
        label = "KL to the plain model (nats per token)" if self.measure == "kl" else "perplexity ratio"
        note = f"{self.n_texts} neutral texts, {self.n_tokens} tokens; band: 95 % bootstrap interval over texts."
        return Profile("budget", "Side effect on neutral text", "strength", label, table, note, {"budget": self.budget})

    def to_dict(self) -> dict[str, object]:
        """Return JSON-able values."""
        return {**vars(self), "curve": self.curve.to_dict("records")}

    def __str__(self) -> str:
        name = "KL on neutral text" if self.measure == "kl" else "perplexity ratio on neutral text"
        unit = " nats per token" if self.measure == "kl" else ""
        said = f"strength {self.strength:.3g}: {name} {self.value:.3g} of {self.budget:g}{unit}"
        said += f" ({self.n_texts} texts, {self.n_tokens} tokens)"
        if not self.exceeded:
            said += "; no strength that was tried exceeds the budget"
        if not self.monotone:
            said += "; the measure is not monotone in strength, so the first crossing was taken"
        return said


def strength_for(
    network: Network,
    steering: Steering,
    texts: "Prompt | Sequence[Prompt]",
    *,
    max_kl: float | None = None,
    max_perplexity_ratio: float | None = None,
    first: float = 1.0,
    tolerance: float = 0.05,
    seed: int = 0,
) -> StrengthSearch:
    """Find the largest strength whose side effect on neutral texts stays within a budget.

    Strengths are quadrupled or quartered until the budget lies between two. The gap is then bisected, and narrowed
    around the strength that interpolation names, until it is within the tolerance. The strengths of a round run as one
    sweep. Where the side effect is not monotone in strength, the first crossing counts: no smaller strength that was
    tried exceeds the budget.

    What counts are the tokens that the plan can reach: of each text the first that it edits and all behind it. For an
    edit of the last token that is the last one, after which the model would write.

    The texts are read, not written. So edits of generated tokens act on every token of a text but the first, and no
    strength decays: what is measured is the whole effect of the schedule's first token on all of them.

    Args:
        network: a language model.
        steering: a direction, directions, or a plan; its strengths are multiplied by the factor that is sought.
        texts: what should change little; see `neutral_texts`.
        max_kl: budget of KL(plain ‖ steered), in nats, mean over these tokens of all texts.
        max_perplexity_ratio: instead, budget of the perplexity of the tokens behind them under steering over the plain
            one; above 1.
        first: the strength at which the search begins.
        tolerance: relative distance between the strength found and the next one, which exceeds the budget.
        seed: of the bootstrap.

    Raises:
        BadArgument: not exactly one budget; a setting out of range; no edit; a ratio of perplexities where no token
            stands behind those that change.
        DirectionNotUsable, SiteNotFound, PositionNotFound, EditNotUsable, EditNotApplied
    """
    budget = _budget(max_kl, max_perplexity_ratio)
    if not (isfinite(first) and first > 0 and 1e-3 <= tolerance < 1):
        raise BadArgument(f"first={first} and tolerance={tolerance}: a strength above 0, and a share from 0.001.")
    plan = Plan(tuple(map(_while_reading, as_steering_plan(network, steering))))
    curve = SideEffects(network, plan, as_prompts(texts))
    if budget.measure == "perplexity_ratio" and not curve.n_predicted:
        raise BadArgument(
            f"max_perplexity_ratio={budget.most:g}: no token of the texts stands behind those that the plan changes "
            f"({', '.join(dict.fromkeys(str(edit.where) for edit in plan))}), so none becomes less likely. Give max_kl."
        )
    low, high = _bracket(curve, budget, first)
    while low > 0 and high is not None and high / low > 1 + tolerance:
        curve.measure(_between(curve, budget, low, high, tolerance))
        low, high = _crossing(curve, budget)
    table = curve.table(seed=seed)
    return StrengthSearch(
        strength=low,
        measure=budget.measure,
        budget=budget.most,
        value=curve.value(budget.measure, low),
        exceeded=high is not None,
        monotone=_never_falls(curve, budget),
        curve=table.assign(within=table[budget.measure] <= budget.most),
        n_texts=curve.n_texts,
        n_tokens=curve.n_tokens,
    )


def _bracket(curve: SideEffects, budget: Budget, first: float) -> tuple[float, float | None]:
    """Measure ever larger and smaller strengths until one is within the budget and the next is not."""
    lowest, highest = -2, 1
    curve.measure([first * FACTOR**power for power in range(lowest, highest + 1)])
    low, high = _crossing(curve, budget)
    while high is None and highest < MOST_FACTORS:
        next_highest = min(highest + 4, MOST_FACTORS)
        curve.measure([first * FACTOR**power for power in range(highest + 1, next_highest + 1)])
        highest = next_highest
        low, high = _crossing(curve, budget)
    while low == 0 and lowest > -MOST_FACTORS:
        curve.measure([first * FACTOR**power for power in range(lowest - 4, lowest)])
        lowest -= 4
        low, high = _crossing(curve, budget)
    return low, high


def _between(curve: SideEffects, budget: Budget, low: float, high: float, tolerance: float) -> list[float]:
    """Return strengths inside a bracket: its middle, and two that enclose where the budget should be met.

    Interpolation is linear in logarithms, where the KL of small changes is a line: it grows with the square.
    """
    inside = {(low * high) ** 0.5}
    below, most, above = (
        curve.value(budget.measure, low) - budget.none,
        budget.most - budget.none,
        curve.value(budget.measure, high) - budget.none,
    )
    if 0 < below < most < above < inf:
        met = low * (high / low) ** (log(most / below) / log(above / below))
        half = (1 + tolerance) ** 0.45  # two of these are just within the tolerance
        inside |= {met / half, met * half}
    return [strength for strength in sorted(inside) if low < strength < high]


def _crossing(curve: SideEffects, budget: Budget) -> tuple[float, float | None]:
    """Return the last strength before the first that exceeds the budget, and that one, if there is one."""
    low = 0.0
    for strength in curve.strengths:
        if not curve.value(budget.measure, strength) <= budget.most:
            return low, strength
        low = strength
    return low, None


def _never_falls(curve: SideEffects, budget: Budget) -> bool:
    """Tell whether the measure grows with strength, but for a thousandth of the budget."""
    values = np.array([curve.value(budget.measure, strength) for strength in curve.strengths])
    slack = 1e-3 * (budget.most - float(values[0]))
    return bool((np.diff(values[np.isfinite(values)]) >= -slack).all())


def _budget(max_kl: float | None, max_ratio: float | None) -> Budget:
    if (max_kl is None) == (max_ratio is None):
        raise BadArgument("give one budget: max_kl in nats per token, or max_perplexity_ratio.")
    if max_kl is not None:
        if not (isfinite(max_kl) and max_kl > 0):
            raise BadArgument(f"max_kl={max_kl}: nats above 0, such as 0.1.")
        return Budget("kl", float(max_kl))
    assert max_ratio is not None
    if not (isfinite(max_ratio) and max_ratio > 1):
        raise BadArgument(f"max_perplexity_ratio={max_ratio}: above 1, such as 1.05.")
    return Budget("perplexity_ratio", float(max_ratio))


def _while_reading(edit: Edit) -> Edit:
    """Return the edit for a text that is read: what would be written is its every token but the first."""
    if edit.where.kind == "generated":
        return replace(edit, positions=slice(1, None), decay=None)
    return replace(edit, decay=None)
