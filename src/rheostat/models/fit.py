"""Does an anatomy fit a module? Asked once when a network is loaded, so that a slip does not read the wrong tensor."""

from typing import Any

from torch import nn

from rheostat.base.errors import UnknownArchitecture
from rheostat.base.names import did_you_mean
from rheostat.models.anatomy import BLOCK_KINDS, Anatomy


def check_fit(module: nn.Module, anatomy: Anatomy) -> None:
    """Make sure that an anatomy names parts that are there, with the sizes that it states.

    What sizes cannot show, such as a tap before instead of after a norm, `Model.check` finds.

    Raises:
        UnknownArchitecture: it names a kind or a path that is not there, or states another size.
    """
    for kind in anatomy.taps:
        if kind not in BLOCK_KINDS:
            raise _misfit(anatomy, f"no kind of site {kind!r}.{did_you_mean(kind, BLOCK_KINDS)}")
    blocks = _part(module, anatomy, anatomy.blocks)
    if not isinstance(blocks, nn.ModuleList | nn.Sequential) or len(blocks) != anatomy.n_blocks:
        found = len(blocks) if isinstance(blocks, nn.ModuleList | nn.Sequential) else "no list of"
        raise _misfit(anatomy, f"n_blocks={anatomy.n_blocks}, but {anatomy.blocks!r} holds {found} blocks.")
    _part(module, anatomy, anatomy.final)
    _check_width(anatomy, "d_model", anatomy.d_model, _part(module, anatomy, anatomy.unembed))
    for kind in anatomy.kinds:
        tap = anatomy.tap(kind, 0)
        assert tap is not None
        part = _part(module, anatomy, tap.module)
        if tap.side != "in":
            continue
        if kind == "heads":
            _check_width(anatomy, "n_heads × d_head", anatomy.n_heads * anatomy.d_head, part)
        if kind == "neurons":
            _check_width(anatomy, "d_mlp", anatomy.d_mlp, part)
    heads = getattr(getattr(module, "config", None), "num_attention_heads", anatomy.n_heads)
    if heads != anatomy.n_heads:
        raise _misfit(anatomy, f"n_heads={anatomy.n_heads}, but the module's config says {heads}.")


def _part(module: nn.Module, anatomy: Anatomy, path: str) -> nn.Module:
    try:
        return module.get_submodule(path)
    except AttributeError:
        known = [name for name, _ in module.named_modules() if name]
        raise _misfit(anatomy, f"it has no module {path!r}.{did_you_mean(path, known)}") from None


def _check_width(anatomy: Anatomy, name: str, width: int, part: Any) -> None:
    """Compare a stated size with the inputs that a linear map takes; other modules do not tell."""
    found = getattr(part, "in_features", getattr(part, "nx", width))  # `nx`: the transposed linear map of GPT-2
    if found != width:
        raise _misfit(anatomy, f"{name} is {width}, but {type(part).__name__} there takes {found}.")


def _misfit(anatomy: Anatomy, why: str) -> UnknownArchitecture:
    return UnknownArchitecture(f"the anatomy {anatomy.family!r} does not fit this network: {why}")
