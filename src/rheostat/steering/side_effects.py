"""What a plan does to texts that it should leave alone: KL and perplexity, strength by strength."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from rheostat.edit.plan import Plan
from rheostat.engine.cells import Cell
from rheostat.engine.sweep import MAX_TOKEN_ROWS
from rheostat.metrics.divergence import KLToClean
from rheostat.metrics.loss import Loss
from rheostat.metrics.statistics import Interval, Values, bootstrap
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.steering.plan import at_strength
from rheostat.sweeps.sweep import sweep

Measure: TypeAlias = Literal["kl", "perplexity_ratio"]
LOGITS_AT_ONCE = 2**26
"""Numbers that the logits of one pass may hold."""


class SideEffects:
    """Side effects of a plan at several strengths; all texts count token by token, from the first that it edits on.

    Nothing can change before that token, so those before it would only make the mean smaller: an edit of the last token
    is measured at the last token of each text.

    Args:
        network: a language model.
        plan: whose strengths are multiplied.
        texts: what it should leave alone.

    Raises:
        PositionNotFound: a text lacks a token that the plan edits.
    """

    def __init__(self, network: Network, plan: Plan, texts: Sequence[Prompt]) -> None:
        self._network, self._plan, self._texts = network, plan, texts
        rows = [network.row(text) for text in texts]
        self._lengths = np.array([len(row) for row in rows], dtype=np.float64)
        first = [min(min(edit.where.in_prompt(row)) for edit in plan) for row in rows]
        self._n_tokens = self._lengths - np.array(first)
        self._sums: dict[float, Values] = {}
        self.measure([0.0])
        self._sums[0.0][:, 0] = 0.0  # a plan of strength 0 changes no bit; what was measured is float noise

    @property
    def n_texts(self) -> int:
        """How many texts are read."""
        return len(self._texts)

    @property
    def n_tokens(self) -> int:
        """How many of their tokens the plan can reach: the first that it edits and all behind it."""
        return int(self._n_tokens.sum())

    @property
    def n_predicted(self) -> int:
        """How many tokens stand behind such a token, so that their probability can change."""
        return int((self._n_tokens - 1).sum())

    @property
    def strengths(self) -> list[float]:
        """What was measured, 0 first."""
        return sorted(self._sums)

    def measure(self, strengths: Sequence[float]) -> None:
        """Measure more strengths, in one sweep."""
        cells = [Cell(at_strength(self._plan, strength)) for strength in strengths]
        table = sweep(
            self._network,
            self._texts,
            cells,
            [KLToClean(at="all"), Loss()],
            max_token_rows=max(1, min(MAX_TOKEN_ROWS, LOGITS_AT_ONCE // self._network.body.d_vocab)),
            name="strengths",
        )
        for number, strength in enumerate(strengths):
            own = table[table["cell"] == number].sort_values("prompt")
            kl, loss = own["kl_to_clean"].to_numpy(), own["loss"].to_numpy()
            self._sums[strength] = np.stack([kl * self._lengths, loss * (self._lengths - 1)], axis=1)

    def value(self, measure: Measure, strength: float) -> float:
        """Return a measure at a strength that was measured."""
        return _STATISTICS[measure](self._units(strength))

    def table(self, *, seed: int) -> pd.DataFrame:
        """Return one row per strength: columns strength, kl, kl_low, kl_high, perplexity_ratio, ratio_low, ratio_high.

        kl is KL(plain ‖ steered) in nats per token that can be reached; the ratio is the perplexity of the tokens
        behind these under steering over the plain one, NaN where there are none. Intervals are 95 % bootstrap
        intervals over texts; NaN for a single one.
        """
        return pd.DataFrame([self._row(strength, seed) for strength in self.strengths])

    def _row(self, strength: float, seed: int) -> dict[str, float]:
        kl, ratio = (self._interval(_STATISTICS[name], strength, seed) for name in ("kl", "perplexity_ratio"))
        measured = {"kl": kl.value, "kl_low": kl.low, "kl_high": kl.high}
        return {
            "strength": strength,
            **measured,
            "perplexity_ratio": ratio.value,
            "ratio_low": ratio.low,
            "ratio_high": ratio.high,
        }

    def _interval(self, statistic: Callable[[Values], float], strength: float, seed: int) -> Interval:
        units = self._units(strength)
        if statistic is _perplexity_ratio:
            units = units[units[:, 4] > 0]  # a text whose last token alone changes says nothing of it
        if not len(units):
            return Interval(float("nan"), float("nan"), float("nan"), 0)
        if len(units) < 2 or not np.isfinite(units).all():
            return Interval(statistic(units), float("nan"), float("nan"), len(units))
        return bootstrap(statistic, units, seed=seed, draws=500)

    def _units(self, strength: float) -> Values:
        """Return per text the sums over tokens of KL, loss and plain loss, and how many tokens can add to them."""
        n = self._n_tokens[:, None]
        return np.concatenate([self._sums[strength], self._sums[0.0][:, 1:], n, n - 1], axis=1)


def _kl(units: Values) -> float:
    return float(units[:, 0].sum() / units[:, 3].sum())


def _perplexity_ratio(units: Values) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp((units[:, 1] - units[:, 2]).sum() / units[:, 4].sum()))


_STATISTICS: Mapping[Measure, Callable[[Values], float]] = {"kl": _kl, "perplexity_ratio": _perplexity_ratio}
