"""The states of texts at the end of every block, and of the embedding, as one array."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from rheostat.engine.stream import capture_batches
from rheostat.model import Model
from rheostat.models.tokens import Prompt
from rheostat.sites.positions import PositionsLike

EMBEDDING = -1
"""The number that stands for the embedding among the blocks."""
ROWS = 32


@dataclass(frozen=True, eq=False)
class States:
    """What texts look like at one token, from the embedding to the last block."""

    blocks: tuple[int, ...]
    """−1 for the embedding, which is the mean over all of a text's tokens."""
    values: Float[np.ndarray, "site text width"]

    def at(self, block: int) -> Float[np.ndarray, "text width"]:
        """Return the states at one block."""
        found: Float[np.ndarray, "text width"] = self.values[self.blocks.index(block)]
        return found

    def of(self, texts: Sequence[int] | slice) -> "States":
        """Return the states of some of the texts."""
        return States(self.blocks, self.values[:, texts])


def states_of(model: Model, texts: Sequence[Prompt], *, positions: PositionsLike = "last") -> States:
    """Read texts at one token, or at the mean of several, at every block; each text passes once."""
    order = np.argsort([len(model.row(text).ids) for text in texts], kind="stable")
    sites = [f"blocks.{block}.resid_post" for block in range(model.n_blocks)]
    values = np.empty((1 + len(sites), len(texts), model.d_model), dtype=np.float32)
    first = 0
    for held in capture_batches(model, [texts[index] for index in order], sites, positions=positions, batch_size=ROWS):
        rows = order[first : first + len(held.positions)]
        for place, site in enumerate(sites, 1):
            values[place, rows] = held[site].float().flatten(2).nanmean(1).numpy()
        first += len(rows)
    values[0] = torch.stack([_embedding(model, text) for text in texts]).numpy()
    return States((EMBEDDING, *range(model.n_blocks)), values)


def _embedding(model: Model, text: Prompt) -> torch.Tensor:
    return model.capture(text, "embed", "all")["embed"][0].float().mean(0)
