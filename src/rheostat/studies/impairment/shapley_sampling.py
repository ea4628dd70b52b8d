"""Evaluations that a bandit and plain sampling need for one error, replayed many times from recorded walks."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int

from rheostat.metrics.statistics import Interval, Values, percentile_interval
from rheostat.neurons.shapley.enumeration import exact_shapley
from rheostat.neurons.shapley.estimate import ShapleyEstimate
from rheostat.neurons.shapley.game import FunctionGame
from rheostat.neurons.shapley.recording import RecordedGame
from rheostat.neurons.shapley.sampling import bandit_shapley, sampled_shapley
from rheostat.neurons.shapley.walk import Truncation

SHARE = 0.05
RUNS, RUNS_QUICK = 20, 5
MOST_WALKS = 500
CHUNK = 4
"""Coalitions that a replay looks up at a time; of a walk that is cut at most three are in vain, and counted."""
PLAIN = "plain sampling"
BANDITS: dict[str, tuple[str, Truncation | None]] = {
    "bandit, Bernstein": ("bernstein", Truncation()),
    "bandit, normal": ("normal", Truncation()),
    "bandit, normal, walks never cut": ("normal", None),
}
DECIDING = "bandit, Bernstein"
"""The paper's interval, with the paper's truncation."""


def n_top(n_players: int) -> int:
    """Return how many the top 5 % are."""
    return max(1, round(SHARE * n_players))


def halves(game: RecordedGame) -> tuple[list[int], list[int]]:
    """Return the walks of the long reference run, and those that are replayed."""
    walks = sorted(game.walks)
    return walks[: len(walks) // 2], walks[len(walks) // 2 :]


def replays(game: RecordedGame, n_runs: int, seed: int) -> pd.DataFrame:
    """Run plain sampling and bandits over the second half of the walks, each run in a random order of its own.

    Rows {way, run, walks, evaluations, overlap, settled}, after every walk; overlap is the share of the reference's top
    that is found. Coalitions are evaluated four at a time, so that few are in vain.
    """
    first, second = halves(game)
    k = n_top(game.n_players)
    best = set(sampled_shapley(game, first, seed=game.seed).top(k))
    rows: list[dict[str, object]] = []
    for run in range(n_runs):
        order = [int(walk) for walk in np.random.default_rng([seed, run]).permutation(second)]

        def note(way: str, run: int = run) -> Callable[[ShapleyEstimate], None]:
            def watch(now: ShapleyEstimate) -> None:
                overlap = len(best & set(now.top(k))) / k
                told = {"walks": now.walks, "evaluations": now.evaluations, "settled": now.settled}
                rows.append({"way": way, "run": run, "overlap": overlap, **told})

            return watch

        sampled_shapley(game, order, seed=game.seed, chunk=CHUNK, watch=note(PLAIN))
        for way, (interval, truncation) in BANDITS.items():
            bandit_shapley(
                game,
                k,
                walks=order,
                seed=game.seed,
                interval=interval,
                truncation=truncation,
                chunk=CHUNK,
                watch=note(way),
            )
    return pd.DataFrame(rows)


def saving(table: pd.DataFrame, way: str, seed: int, *, draws: int = 2000) -> Interval:
    """Return how many times as many evaluations plain sampling needs to reach the overlap at which a bandit ends.

    The mean overlap of plain sampling over runs must reach the bandit's; where it never does, all of its evaluations
    count, so the ratio is at least so large. The interval resamples runs.
    """
    ends = table[table["way"] == way].groupby("run").tail(1).set_index("run").sort_index()
    plain = table[table["way"] == PLAIN]
    curves = plain.pivot(index="run", columns="walks", values="overlap").sort_index().to_numpy()
    spent = plain.groupby("walks")["evaluations"].first().to_numpy()

    def ratio(runs: Int[np.ndarray, " run"]) -> float:
        reached = curves[runs].mean(axis=0) >= ends["overlap"].to_numpy()[runs].mean() - 1e-9
        stays = np.flip(np.logical_and.accumulate(np.flip(reached)))  # from here on, not by luck once
        needed = spent[int(stays.argmax())] if stays.any() else spent[-1]
        return float(needed / ends["evaluations"].to_numpy()[runs].mean())

    n, rng = len(ends), np.random.default_rng(seed)
    drawn = np.array([ratio(rng.integers(0, n, size=n)) for _ in range(draws)])
    return percentile_interval(ratio(np.arange(n)), drawn, n=n)


def enumerated(values: Values, n_players: int, n_runs: int, seed: int) -> tuple[Values, int, float]:
    """Return exact values of a game given by all its coalitions, k, and how often a bandit finds the top k.

    The border lies where neighbours in the upper half are furthest apart, so that no tie decides. The bandit has the
    paper's interval; walks are never cut, and at most 500 of them.
    """

    def look_up(present: np.ndarray) -> np.ndarray:
        return np.asarray(values[present @ (1 << np.arange(n_players))])

    game = FunctionGame(n_players, look_up)
    exact = exact_shapley(game)
    descending = -np.sort(-exact)[: n_players // 2 + 1]
    k = 1 + int(np.argmax(descending[:-1] - descending[1:]))
    best = set(np.argsort(-exact)[:k].tolist())
    found: Sequence[bool] = [
        set(bandit_shapley(game, k, walks=MOST_WALKS, seed=seed + run, truncation=None).top(k)) == best
        for run in range(n_runs)
    ]
    return exact, k, float(np.mean(found))
