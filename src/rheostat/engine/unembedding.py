"""Unembed the tokens that were asked for and no others, where the rows of a batch ask for different ones.

transformers unembeds the same columns of every row. The unembedding costs as much as several blocks, so rows that each
want a token or two elsewhere are gathered before it.
"""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from rheostat.engine.batch import Batch
from rheostat.engine.taps import attach
from rheostat.models.anatomy import Tap
from rheostat.models.network import Network


class Gathered:
    """The asked tokens of all rows, side by side.

    Args:
        batch: the rows.
        asked: per row, the positions to unembed.
    """

    def __init__(self, batch: Batch, asked: Sequence[Sequence[int]]) -> None:
        self._columns = batch.input_ids.shape
        self._counts = [len(positions) for positions in asked]
        places = [
            (row, start + p) for row, (start, one) in enumerate(zip(batch.starts, asked, strict=True)) for p in one
        ]
        self._places = torch.tensor(places, device=batch.input_ids.device).unbind(-1)

    def attach(self, stack: ExitStack, network: Network) -> None:
        """Let the unembedding see only these, until the stack closes."""
        attach(stack, network.module, Tap(network.body.unembed, "in"), self._gather)

    def split(self, logits: Tensor) -> list[Tensor]:
        """Return each row's logits (pos, d_vocab), from those of a pass."""
        if logits.shape[:2] == self._columns:  # the network unembeds without the module of that name
            logits = self._gather(logits)
        return list(logits[0].split(self._counts))

    def _gather(self, tensor: Tensor) -> Tensor:
        """Return (1, place, …) of (row, column, …)."""
        rows, columns = (one.to(tensor.device) for one in self._places)
        return tensor.reshape(*self._columns, tensor.shape[-1])[rows, columns][None]
