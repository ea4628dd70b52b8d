"""Phi (1, 1.5, 2): partial rotary positions, attention and MLP in parallel behind one norm."""

from typing import Any

from rheostat.models.anatomy import NO_RESID_MID, Anatomy, block_taps
from rheostat.models.families.sizes import sizes


def anatomy(config: Any) -> Anatomy:
    """Return where the parts of this network are."""
    return Anatomy(
        family="phi",
        blocks="model.layers",
        final="model.final_layernorm",
        unembed="lm_head",
        taps=block_taps(attn="self_attn", attn_proj="self_attn.dense", mlp="mlp", mlp_proj="mlp.fc2"),
        parallel=True,
        refusals={"resid_mid": NO_RESID_MID},
        **sizes(config, d_mlp=config.intermediate_size, n_context=config.max_position_embeddings),
    )
