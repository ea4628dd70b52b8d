"""The difference of two means in units of the pooled standard deviation (Cohen 1988, Statistical power analysis)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def standardised_difference(target: Mapping[int, Tensor], others: Sequence[Mapping[int, Tensor]]) -> dict[int, Tensor]:
    """Return, block by block, (mean of the target's items − mean of all others') / pooled standard deviation (unit,).

    0 where a unit never varies. The mappings go from block to (item, unit).
    """
    found = {}
    for block, mine in target.items():
        first, second = mine.double(), torch.cat([other[block] for other in others]).double()
        squares = sum((one - one.mean(0)).square().sum(0) for one in (first, second))
        spread = (torch.as_tensor(squares) / max(1, len(first) + len(second) - 2)).sqrt()
        difference = first.mean(0) - second.mean(0)
        found[block] = torch.where(spread > 0, difference / spread.clamp(min=1e-300), torch.zeros_like(difference))
    return found
