"""Networks that are divided among processes (tensor parallel): which sites each process holds in whole."""

import sys
from dataclasses import replace
from typing import Any

from torch import nn

from rheostat.models.anatomy import Anatomy

_WHY = "the network is divided among processes, and each computes its own part only"


def without_divided(module: nn.Module, anatomy: Anatomy) -> Anatomy:
    """Return an anatomy that offers only what every process of a tensor-parallel network holds in whole.

    The residual stream, and what is read from it or added to it, are the same everywhere. Heads and neurons are divided
    where the map that takes them is; so are, with the heads, the attention weights.
    """
    if "torch.distributed.tensor" not in sys.modules:
        return anatomy
    divided = [kind for kind in ("heads", "neurons") if kind in anatomy.taps and _takes_a_part(module, anatomy, kind)]
    if "heads" in divided:
        divided.append("pattern")
    return replace(
        anatomy,
        taps={kind: tap for kind, tap in anatomy.taps.items() if kind not in divided},
        refusals={**anatomy.refusals, **dict.fromkeys(divided, _WHY)},
    )


def _takes_a_part(module: nn.Module, anatomy: Anatomy, kind: str) -> bool:
    """Tell whether the linear map behind a site holds only some of its input columns here."""
    tap = anatomy.tap(kind, 0)
    assert tap is not None
    weight: Any = getattr(module.get_submodule(tap.module), "weight", None)
    return any(place.is_shard(1) for place in getattr(weight, "placements", ()))
