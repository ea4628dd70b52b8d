"""A replay of known answers ends where a walk that asks level by level would have ended, and says the same."""

import numpy as np
import pytest

from rheostat.evaluation.protocol import Protocol
from rheostat.evaluation.replay import replay
from rheostat.evaluation.rule import is_over, judge

LEVELS = (1.0, 0.7, 0.5, 0.3, 0.1, 0.0)
N = 40
ALONE = [""] * N


@pytest.mark.parametrize("draws", [1, 2])
@pytest.mark.parametrize("seed", range(12))
def test_a_replay_says_what_a_walk_says(seed: int, draws: int):
    rng = np.random.default_rng(seed)
    shares = np.sort(rng.uniform(0, rng.uniform(0.1, 1), len(LEVELS)))
    known = {
        level: {(item, draw): bool(rng.random() < share) for item in range(N) for draw in range(draws)}
        for level, share in zip(LEVELS, shares, strict=True)
    }
    protocol = Protocol(0.35, LEVELS, draws)
    asked: dict[float, dict[tuple[int, int], bool]] = {}
    for level in LEVELS:
        if is_over(asked, ALONE, protocol):
            break
        asked[level] = known[level]
    assert replay(known, ALONE, protocol) == judge(asked, ALONE, protocol)


def test_what_lies_below_the_end_of_a_walk_is_not_looked_at():
    wrong, right = ({(item, 0): answer for item in range(N)} for answer in (False, True))
    protocol = Protocol(0.5, LEVELS)
    ended = {1.0: wrong, 0.7: wrong, 0.5: right}
    below = {0.3: wrong, 0.1: wrong, 0.0: wrong}  # safe again, were anybody to look
    points, outcome = replay({**ended, **below}, ALONE, protocol)
    assert [point.level for point in points] == [1.0, 0.7, 0.5]
    assert (outcome.ended, outcome.least_tested, outcome.least_safe) == ("reached", 0.5, 0.7)
    assert judge({**ended, **below}, ALONE, protocol)[1].least_tested == 0.0  # the control: the whole table
