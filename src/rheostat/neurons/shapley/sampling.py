"""Shapley values by sampling permutations: plainly, or with a bandit that soon measures only who may be at the border.

The bandit is the truncated multi-armed bandit of Ghorbani and Zou 2020 (arXiv:2002.09815): it finds *who is among the
top k*, not the values. After every walk, those players stay active whose interval contains the border between the k-th
and the (k+1)-th largest mean; the others are no longer measured, unless the border moves back to them. In the paper's
code the border is the (k+1)-th mean itself (`border="next"`), and it stops when only that player is left: so it also
tells apart players that stand just below the border, whose order nobody asked for. Here the border lies in the middle
between the two means, and it stops when nobody's interval contains it.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from rheostat.base.errors import BadArgument
from rheostat.base.names import did_you_mean
from rheostat.metrics.statistics import Values
from rheostat.neurons.shapley.estimate import ShapleyEstimate
from rheostat.neurons.shapley.game import Game
from rheostat.neurons.shapley.intervals import check_interval, half_widths
from rheostat.neurons.shapley.tally import Tally
from rheostat.neurons.shapley.walk import Truncation, take_walk
from rheostat.store.key import digest

CHUNK = 64
AS_IN_THE_PAPER = Truncation()
BORDERS = ("middle", "next")


@dataclass(frozen=True)
class _Rule:
    """Which players are measured, and how surely their values are known."""

    interval: str
    delta: float
    bound: float | None
    k: int | None
    """How many are wanted; None: everybody is always measured."""
    border: str = "middle"

    def active(self, tally: Tally) -> Bool[np.ndarray, " player"]:
        """Return whom the next walk measures."""
        if self.k is None:
            return np.ones(len(tally.counts), dtype=bool)
        last, following = np.sort(tally.means)[::-1][self.k - 1 : self.k + 1]
        border = (last + following) / 2 if self.border == "middle" else following
        return np.asarray(np.abs(tally.means - border) <= self.half(tally))

    def settled(self, active: Bool[np.ndarray, " player"]) -> bool:
        """Tell whether nobody's membership is open."""
        return self.k is not None and int(active.sum()) <= (self.border == "next")

    def half(self, tally: Tally) -> Values:
        """Return half-widths."""
        return half_widths(tally, self.interval, delta=self.delta, bound=self.bound)


def sampled_shapley(
    game: Game,
    walks: int | Sequence[int],
    *,
    seed: int = 0,
    truncation: Truncation | None = None,
    chunk: int = CHUNK,
    state: str | Path | None = None,
    watch: Callable[[ShapleyEstimate], None] | None = None,
) -> ShapleyEstimate:
    """Estimate every player's value from whole permutations; n + 1 evaluations each.

    Intervals are normal ones, 95 %. Other arguments and errors as in `bandit_shapley`.

    Reference: Castro, Gómez and Tejada 2009, Polynomial calculation of the Shapley value based on sampling.
    """
    rule = _Rule("normal", 0.05, None, None)
    return _sample(game, rule, _listed(walks), seed, truncation, chunk, state, watch, None)


def bandit_shapley(
    game: Game,
    k: int,
    *,
    walks: int | Sequence[int] = 1000,
    seed: int = 0,
    interval: str = "bernstein",
    delta: float = 0.2,
    bound: float | None = None,
    border: str = "middle",
    truncation: Truncation | None = AS_IN_THE_PAPER,
    max_evaluations: int | None = None,
    chunk: int = CHUNK,
    state: str | Path | None = None,
    watch: Callable[[ShapleyEstimate], None] | None = None,
) -> ShapleyEstimate:
    """Find the k players of highest Shapley value, measuring only those whose membership is open.

    Args:
        game: what coalitions are worth.
        k: how many are wanted, fewer than there are players.
        walks: at most so many permutations; or their numbers, in the order in which they are taken.
        seed: permutation i is keyed by (seed, i), so a run repeats exactly, also after it was interrupted.
        interval: `bernstein`, `hoeffding` or `normal`; see `intervals`.
        delta: probability that one interval misses; 0.2 in the paper's code.
        bound: the width of the range of marginals; None: of those seen so far, with which nothing is guaranteed.
        border: between the k-th and the next player: in the `middle` of the two, or at the `next`, as the paper's code.
        truncation: when a walk is cut short; None: never.
        max_evaluations: no walk begins once so many coalitions were evaluated.
        chunk: coalitions that are evaluated at a time.
        state: a file that is rewritten after every walk, and from which an interrupted run goes on.
        watch: called with the estimate after every walk.

    Raises:
        BadArgument: k, delta, bound, chunk or the number of walks lies outside its range.
        FileNotUsable: `state` is damaged, or holds another run.
    """
    if not 1 <= k < game.n_players:
        raise BadArgument(f"k={k}: from 1 to {game.n_players - 1}, fewer than there are players.")
    check_interval(interval, delta, bound)
    if border not in BORDERS:
        raise BadArgument(f"no border {border!r}.{did_you_mean(border, BORDERS)} One of: {', '.join(BORDERS)}.")
    rule = _Rule(interval, delta, bound, k, border)
    return _sample(game, rule, _listed(walks), seed, truncation, chunk, state, watch, max_evaluations)


def _sample(
    game: Game,
    rule: _Rule,
    walks: Sequence[int],
    seed: int,
    truncation: Truncation | None,
    chunk: int,
    state: str | Path | None,
    watch: Callable[[ShapleyEstimate], None] | None,
    max_evaluations: int | None,
) -> ShapleyEstimate:
    if chunk < 1 or seed < 0:
        raise BadArgument(f"chunk={chunk}, seed={seed}: chunk at least 1, seed 0 or above.")
    path, key = (None if state is None else Path(state)), _key(game, rule, walks, seed, truncation, chunk)
    tally = Tally.load(path, key) if path is not None and path.is_file() else Tally.empty(game.n_players)
    for walk in walks[tally.walks :]:
        active = rule.active(tally)
        spent = max_evaluations is not None and tally.evaluations >= max_evaluations
        if spent or rule.settled(active):
            break
        tally = tally.after(take_walk(game, walk, active, seed=seed, truncation=truncation, chunk=chunk))
        if path is not None:
            tally.save(path, key)
        if watch is not None:
            watch(_estimate(rule, tally))
    return _estimate(rule, tally)


def _estimate(rule: _Rule, tally: Tally) -> ShapleyEstimate:
    half, active = rule.half(tally), rule.active(tally)
    values = np.where(tally.counts > 0, tally.means, np.nan)
    return ShapleyEstimate(
        values=values,
        low=values - half,
        high=values + half,
        counts=tally.counts,
        active=active,
        walks=tally.walks,
        evaluations=tally.evaluations,
        settled=rule.settled(active),
    )


def _listed(walks: int | Sequence[int]) -> Sequence[int]:
    listed = range(walks) if isinstance(walks, int) else list(walks)
    if not listed or min(listed) < 0:
        raise BadArgument(f"walks={walks}: at least one, each numbered from 0.")
    return listed


def _key(game: Game, rule: _Rule, walks: Sequence[int], seed: int, truncation: Truncation | None, chunk: int) -> str:
    """Return what a tally depends on, beside how many walks were taken; walks given by number come in their order."""
    settings: dict[str, object] = {
        "game": game.fingerprint,
        "players": game.n_players,
        "seed": seed,
        "chunk": chunk,
        **asdict(rule),
    }
    settings["truncation"] = None if truncation is None else asdict(truncation)
    settings["order"] = list(walks) if isinstance(walks, list) else None
    return digest(settings)
