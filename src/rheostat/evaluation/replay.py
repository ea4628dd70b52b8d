"""`replay`: what a walk would have found whose answers, at every level, are known already."""

from collections.abc import Mapping, Sequence

from rheostat.evaluation.protocol import Protocol
from rheostat.evaluation.rule import Outcome, Point, judge, points_of


def replay(
    answers: Mapping[float, Mapping[tuple[int, int], bool]], groups: Sequence[str], protocol: Protocol
) -> tuple[list[Point], Outcome]:
    """Return the points and the outcome of a walk that had asked its levels one by one, and had stopped by the rule.

    Args:
        answers: as in `judge`, with every level of the protocol; those below the end of the walk are not looked at.
        groups: as in `judge`.
        protocol: fixed beforehand.
    """
    points = points_of(answers, groups, protocol)
    end = next((place for place, point in enumerate(points) if not point.below), len(points) - 1)
    return judge({point.level: answers[point.level] for point in points[: end + 1]}, groups, protocol)
