"""The update `o`: what the MLP adds at the last token at the block where the answer first leads, and its controls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.edit.arithmetic import Add
from rheostat.edit.patching import Replace
from rheostat.engine.cells import Cell
from rheostat.model import Model
from rheostat.studies.vector_arithmetic.phases import takeover
from rheostat.studies.vector_arithmetic.questions import Asked
from rheostat.studies.vector_arithmetic.reading import by_block

REPLACED, ADDED = "replaced to the end", "added once"
WAYS = (REPLACED, ADDED)
"""Put in the place of every MLP output from the block on, at all tokens, as in the paper; or added once, at the block
and the last token."""
EXTRACTED, OTHER_TASK, RANDOM = "extracted", "of another task", "random of equal norm"
BEFORE, SHUFFLED = "of the block before", "coordinates shuffled"
CONTROLS = (SHUFFLED, OTHER_TASK, RANDOM, BEFORE)
NONE = "none"


@dataclass(frozen=True)
class Update:
    """MLP updates of one task at the block where its answers first lead."""

    task: str
    block: int
    sources: tuple[str, ...]
    """The arguments of the prompts that they come from."""
    vectors: Float[Tensor, "source d_model"]
    before: Float[Tensor, "source d_model"]
    """Those of the block before, from the same prompts."""


def extract(model: Model, listed: Sequence[Asked], table: pd.DataFrame, n_sources: int) -> Update | None:
    """Return the updates of a task, or None where no source prompt is answered.

    The block is the median of the first block at which the answer leads; sources are the prompts where it is nearest.

    Args:
        model: the network.
        listed: the questions that were read.
        table: their rows of `lens_ranks`, those that the model answers.
        n_sources: at most so many.
    """
    chosen = table[table["task"] == listed[0].task]
    if chosen.empty:
        return None
    asked = {one.pair.question: one for one in listed}
    names = chosen.drop_duplicates("prompt").sort_values("prompt")["question"].tolist()
    first = takeover(by_block(chosen, "answer"))
    block = max(1, int(np.median(first)))
    near = np.argsort(np.abs(first - block), kind="stable")[:n_sources]
    sources = [names[place] for place in near]
    sites = [f"blocks.{one}.mlp_out" for one in (block, block - 1)]
    found = model.capture([asked[name].prompt for name in sources], sites, "last")
    return Update(listed[0].task, block, tuple(sources), *(found[site][:, 0] for site in sites))


def cells(update: Update, updates: Mapping[str, Update], n_blocks: int, seed: int) -> list[Cell]:
    """Return the cell that changes nothing, then every update and control in both ways."""
    found = [Cell((), {"update": NONE, "way": NONE, "source": -1})]
    other = _next_task(update, updates)
    for source, vector in enumerate(update.vectors):
        rng = torch.Generator().manual_seed(seed + source)
        noise = torch.randn(vector.shape, generator=rng, dtype=vector.dtype)
        vectors = {
            EXTRACTED: vector,
            SHUFFLED: vector[torch.randperm(len(vector), generator=rng)],
            RANDOM: noise / noise.norm() * vector.norm(),
            BEFORE: update.before[source],
        }
        if other is not None:
            vectors[OTHER_TASK] = other.vectors[source % len(other.vectors)]
        for name, one in vectors.items():
            labels = {"update": name, "source": source}
            found += [Cell(plan(one, update.block, n_blocks, way), {**labels, "way": way}) for way in WAYS]
    return found


def plan(vector: Float[Tensor, " d_model"], block: int, n_blocks: int, way: str) -> list[Replace | Add]:
    """Return the edits that put an update into a run, from a block on."""
    if way == ADDED:
        return [Add(f"blocks.{block}.mlp_out", vector, positions="last")]
    return [Replace(f"blocks.{one}.mlp_out", vector) for one in range(block, n_blocks)]


def _next_task(update: Update, updates: Mapping[str, Update]) -> Update | None:
    names = list(updates)
    following = [*names[names.index(update.task) + 1 :], *names[: names.index(update.task)]]
    return updates[following[0]] if following else None
