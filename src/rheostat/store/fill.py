"""Compute what a store lacks, chunk by chunk, so that nothing that was finished is computed again."""

import os
from collections.abc import Callable, Sequence

from rheostat.base.errors import BadArgument
from rheostat.store.key import digest
from rheostat.store.store import Store, Wanted

Compute = Callable[[Sequence[int]], Sequence[Sequence[float]]]
"""From the places of wanted results to their numbers, in the same order."""


def fill(store: Store, wanted: Sequence[Wanted], compute: Compute, *, chunk_size: int) -> int:
    """Compute the results that are missing, commit each chunk, and return how many were computed here.

    Before each chunk the store is asked again, so that processes which share it leave each other's finished work alone.
    One that computed what another was computing too goes on with its chunks in an order of its own.

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
    chunks, n_computed = _chunks(store.missing(one.key for one in wanted), chunk_size), 0
    while chunks:
        keys = store.missing(chunks.pop(0))
        if not keys:
            continue
        numbers = compute([place[key] for key in keys])
        if len(numbers) != len(keys):
            raise BadArgument(f"{len(numbers)} results were computed for {len(keys)} that are wanted.")
        n_computed += len(keys)
        if store.commit(dict(zip(keys, numbers, strict=True))) < len(keys):
            chunks.sort(key=_own_order)
    return n_computed


def _chunks(keys: Sequence[str], size: int) -> list[Sequence[str]]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def _own_order(chunk: Sequence[str]) -> str:
    """Return a rank that differs between processes: two that met at one chunk would otherwise stay in step."""
    return digest([os.getpid(), chunk[0]])
