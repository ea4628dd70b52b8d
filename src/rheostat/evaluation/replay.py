"""`replay`: what a walk would have found whose answers, at every level, are known already."""

from collections.abc import Mapping, Sequence

from rheostat.evaluation.protocol import Protocol
from rheostat.evaluation.rule import Outcome, Point, judge


def replay(
    answers: Mapping[float, Mapping[tuple[int, int], bool]], groups: Sequence[str], protocol: Protocol
) -> tuple[list[Point], Outcome]:
    """Return the points and the outcome of a walk that had asked its levels one by one, and had stopped by the rule.

    Args:
        answers: as in `judge`, with every level of the protocol; those below the end of the walk are not looked at.
        groups: as in `judge`.
        protocol: fixed beforehand.
    """
    points, outcome = judge(answers, groups, protocol)
    ends = [place for place, point in enumerate(points) if not point.below]
    if not ends or ends[0] == len(points) - 1:
        return points, outcome
    asked = {point.level: answers[point.level] for point in points[: ends[0] + 1]}
    return judge(asked, groups, protocol)
