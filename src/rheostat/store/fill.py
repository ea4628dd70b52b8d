"""Compute what a store lacks, chunk by chunk, so that nothing that was finished is computed again."""

from collections.abc import Callable, Iterator, Sequence

from rheostat.base.errors import BadArgument
from rheostat.store.store import Store, Wanted

Compute = Callable[[Sequence[int]], Sequence[Sequence[float]]]
"""From the places of wanted results to their numbers, in the same order."""


def fill(store: Store, wanted: Sequence[Wanted], compute: Compute, *, chunk_size: int) -> int:
    """Compute the results that are missing, commit each chunk, and return how many were computed here.

    Before each chunk the store is asked again, so that processes which share it leave each other's finished work alone.

    Args:
        store: where results are kept.
        wanted: what is asked for; a key that occurs several times is computed once.
        compute: called with the places in `wanted` of one chunk.
        chunk_size: how many results are computed and committed together; at most these are lost by a kill.

    Raises:
        BadArgument: the chunk size is not positive, or `compute` returns another number of results.
        FileNotUsable: the store cannot be written.
    """
    if chunk_size < 1:
        raise BadArgument(f"chunk_size={chunk_size}: at least 1 result is computed at a time.")
    place = {one.key: index for index, one in reversed(list(enumerate(wanted)))}
    n_computed = 0
    for chunk in _chunks(store.missing(one.key for one in wanted), chunk_size):
        keys = store.missing(chunk)
        if not keys:
            continue
        numbers = compute([place[key] for key in keys])
        if len(numbers) != len(keys):
            raise BadArgument(f"{len(numbers)} results were computed for {len(keys)} that are wanted.")
        store.commit(dict(zip(keys, numbers, strict=True)))
        n_computed += len(keys)
    return n_computed


def _chunks(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))
