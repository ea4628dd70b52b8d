"""Compute what a store lacks, chunk by chunk, so that nothing that was finished is computed again."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from rheostat.base.errors import BadArgument
from rheostat.store.key import digest
from rheostat.store.store import Store, Wanted

Compute = Callable[[Sequence[int]], Sequence[Sequence[float]]]
"""From the places of wanted results to their numbers, in the same order."""

Work = Callable[[Iterator[Sequence[int]]], Iterator[tuple[Sequence[int], Sequence[Sequence[float]]]]]
"""From chunks of places, taken as they are needed, to chunks with their numbers, in whichever order they are done."""


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
    places = missing_places(store, wanted)
    chunks = [places[start : start + chunk_size] for start in range(0, len(places), chunk_size)]
    return fill_chunks(store, wanted, chunks, lambda asked: ((chunk, compute(chunk)) for chunk in asked))


def missing_places(store: Store, wanted: Sequence[Wanted]) -> list[int]:
    """Return the places in `wanted` of the results that a store lacks; of equal keys, the first one's."""
    place = _place_of(wanted)
    return [place[key] for key in store.missing(one.key for one in wanted)]


def fill_chunks(store: Store, wanted: Sequence[Wanted], chunks: Iterable[Sequence[int]], work: Work) -> int:
    """Have chunks of missing results computed, several at once perhaps; otherwise as `fill`.

    Args:
        store: where results are kept.
        wanted: what is asked for.
        chunks: places in `wanted`, each once.
        work: computes chunks.

    Raises:
        BadArgument: `work` returns another number of results than places.
        FileNotUsable: the store cannot be written.
    """
    place = _place_of(wanted)
    left = [[wanted[one].key for one in chunk] for chunk in chunks]
    n_computed = 0

    def missing() -> Iterator[Sequence[int]]:
        while left:
            if keys := store.missing(left.pop(0)):
                yield [place[key] for key in keys]

    for chunk, numbers in work(missing()):
        if len(numbers) != len(chunk):
            raise BadArgument(f"{len(numbers)} results were computed for {len(chunk)} that are wanted.")
        n_computed += len(chunk)
        keys = [wanted[one].key for one in chunk]
        if store.commit(dict(zip(keys, numbers, strict=True))) < len(keys):
            left.sort(key=_own_order)
    return n_computed


def _place_of(wanted: Sequence[Wanted]) -> dict[str, int]:
    return {one.key: index for index, one in reversed(list(enumerate(wanted)))}


def _own_order(chunk: Sequence[str]) -> str:
    """Return a rank that differs between processes: two that met at one chunk would otherwise stay in step."""
    return digest([os.getpid(), chunk[0]])
