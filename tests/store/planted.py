"""A run that asks for 240 results whose numbers are known."""

from collections.abc import Sequence

from rheostat.store.key import digest
from rheostat.store.store import Wanted

N = 240


def wanted(n: int = N) -> list[Wanted]:
    return [Wanted(digest(number), {"block": number // 10, "token": f"␣w{number % 10}"}) for number in range(n)]


def numbers(places: Sequence[int]) -> list[tuple[float]]:
    return [(place / 7,) for place in places]
