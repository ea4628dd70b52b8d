"""Extraction: whether what a sublayer writes at a token, decoded alone, says the answer.

The output of each attention and each MLP is multiplied by the unembedding, without the final norm; a sublayer extracts
a token that is the likeliest under that product. An example counts as extracted by a kind of sublayer if any block
does it.

Reference: Geva et al. 2023, Dissecting Recall of Factual Associations in Auto-Regressive Language Models
(arXiv:2304.14767), section 7.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rheostat.edit.plan import PlanLike
from rheostat.engine.forward import capture
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt

SUBLAYERS = ("attn_out", "mlp_out")
UPDATES = 256
"""Updates decoded at a time."""


def extracted_tokens(
    network: Network,
    prompts: Sequence[Prompt],
    *,
    kind: str = "attn_out",
    plans: Sequence[PlanLike] | None = None,
    final_norm: bool = False,
) -> Int[Tensor, "prompt block"]:
    """Return the token that each block's sublayer update says at the last token of each prompt.

    Args:
        network: the loaded network.
        prompts: texts or lists of token ids.
        kind: `attn_out` or `mlp_out`.
        plans: edits, one plan per prompt.
        final_norm: decode through the final norm, as the logit lens does; the reference goes without.

    Raises:
        SiteNotOffered, SiteNotFound, EditNotApplied: as a run.
    """
    return said(network, sublayer_updates(network, prompts, kind=kind, plans=plans), final_norm=final_norm)


def sublayer_updates(
    network: Network,
    prompts: Sequence[Prompt],
    *,
    kind: str = "attn_out",
    plans: Sequence[PlanLike] | None = None,
) -> Float[Tensor, "prompt block d_model"]:
    """Return what each block's sublayer adds at the last token of each prompt; see `extracted_tokens`."""
    found = capture(network, prompts, f"blocks.*.{kind}", positions="last", plans=plans)
    return torch.stack([found[f"blocks.{block}.{kind}"][:, 0] for block in range(network.n_blocks)], dim=1)


def said(
    network: Network, updates: Float[Tensor, "*update d_model"], *, final_norm: bool = False
) -> Int[Tensor, "*update"]:
    """Return the likeliest token of each update under the unembedding alone, or through the final norm."""
    unembed = network.unembed if final_norm else network.part(network.body.unembed)
    flat = updates.reshape(-1, updates.shape[-1])
    with torch.no_grad():
        tops = [unembed(flat[start : start + UPDATES]).argmax(-1) for start in range(0, len(flat), UPDATES)]
    return torch.cat(tops).reshape(updates.shape[:-1])
