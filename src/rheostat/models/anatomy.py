"""Where a transformer keeps its parts: an `Anatomy` names the module behind each kind of site."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rheostat.base.errors import BadArgument

Side = Literal["out", "in", "shared", "weights"]

BLOCK_KINDS = (
    "resid_pre",
    "attn_in",
    "pattern",
    "heads",
    "attn_out",
    "resid_mid",
    "mlp_in",
    "neurons",
    "mlp_out",
    "resid_post",
)
"""Kinds of site inside a block, in the order in which a sequential block computes them."""

MODEL_KINDS = ("embed", "final", "logits")
"""Kinds of site that exist once in a model."""

AXES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys((*BLOCK_KINDS, "embed", "final"), ("batch", "pos", "d_model")),
    "heads": ("batch", "pos", "head", "d_head"),
    "neurons": ("batch", "pos", "d_mlp"),
    "pattern": ("batch", "head", "query_pos", "key_pos"),
    "logits": ("batch", "pos", "d_vocab"),
}
"""Names of the axes of each kind of site."""


@dataclass(frozen=True)
class Tap:
    """A tensor that passes a module's border.

    `side` is `out` (the module's output, or the first of several), `in` (its first input), `shared` (its input, which
    the skip path reads too, so that an edit must be made in place to reach both) or `weights` (the second output,
    where attention modules return their weights).
    """

    module: str
    side: Side

    @classmethod
    def parse(cls, text: str) -> "Tap":
        """Read `mlp.down_proj:in`; no suffix means the output, an empty path the block itself.

        Raises:
            BadArgument: an unknown suffix.
        """
        module, _, side = text.partition(":")
        if side not in _SIDES:
            raise BadArgument(f"the tap {text!r} ends in ':{side}'. One of: (nothing), :in, :shared, :weights.")
        return cls(module, _SIDES[side])


_SIDES: Mapping[str, Side] = {"": "out", "in": "in", "shared": "shared", "weights": "weights"}


@dataclass(frozen=True)
class Anatomy:
    """Paths of a transformer's parts and the sizes of its activations.

    Paths in `taps` are relative to a block and written as `Tap.parse` reads them; a kind that is missing there is not
    offered, and `refusals` says why. Pass one to `rheostat.load(module, anatomy=…)` for an architecture that rheostat
    does not know.
    """

    family: str
    blocks: str
    """Path of the module list that holds the blocks."""
    final: str
    """Path of the norm after the last block."""
    unembed: str
    """Path of the linear map to the vocabulary."""
    taps: Mapping[str, str]
    n_blocks: int
    d_model: int
    n_heads: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_context: int | None = None
    """Longest row in tokens; None where the positions set no limit."""
    softcap: float | None = None
    """The model's logits are `softcap * tanh(logits / softcap)`."""
    parallel: bool = False
    """Attention and MLP read the same residual stream."""
    own_dtype_softmax: bool = False
    """Eager attention takes its softmax in the dtype of the weights; most families take it in float32."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """Kind → why it is not offered."""

    def tap(self, kind: str, block: int | None) -> Tap | None:
        """Return where a site is tapped, with the full module path; None when the kind is not offered."""
        if kind == "embed":
            return Tap(f"{self.blocks}.0", "in")
        if kind == "final":
            return Tap(self.final, "out")
        if kind == "logits":
            return Tap("", "out")
        if kind not in self.taps:
            return None
        tap = Tap.parse(self.taps[kind])
        return Tap(f"{self.blocks}.{block}" + (f".{tap.module}" if tap.module else ""), tap.side)

    def shape(self, kind: str) -> tuple[int, ...]:
        """Return the shape of one token's activation at a kind of site (for `pattern`: only the head axis is known)."""
        special = {
            "heads": (self.n_heads, self.d_head),
            "neurons": (self.d_mlp,),
            "logits": (self.d_vocab,),
            "pattern": (self.n_heads,),
        }
        return special.get(kind, (self.d_model,))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of site inside a block that this network offers, in the order of computation."""
        return tuple(kind for kind in BLOCK_KINDS if kind in self.taps)


NO_RESID_MID = "attention and MLP run in parallel in this family, so no residual stream lies between them"


def block_taps(*, attn: str, attn_proj: str, mlp: str, mlp_proj: str, **others: str) -> dict[str, str]:
    """Build the taps of a block from the paths that every family has; `others` adds or replaces kinds.

    `attn` and `mlp` are the sublayers, `attn_proj` and `mlp_proj` the projections that end them.
    """
    return {
        "resid_pre": ":in",
        "resid_post": "",
        "attn_in": f"{attn}:in",
        "pattern": f"{attn}:weights",
        "heads": f"{attn_proj}:in",
        "attn_out": attn,
        "mlp_in": f"{mlp}:in",
        "neurons": f"{mlp_proj}:in",
        "mlp_out": mlp,
        **others,
    }
