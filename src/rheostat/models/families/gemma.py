"""Gemma 2 and 3 (text): a norm before and after each sublayer, so what a sublayer adds is its post-norm's output."""

from typing import Any

from rheostat.models.anatomy import Anatomy, block_taps
from rheostat.models.families.sizes import sizes


def anatomy(config: Any) -> Anatomy:
    """Return where the parts of this network are."""
    return Anatomy(
        family="gemma",
        blocks="model.layers",
        final="model.norm",
        unembed="lm_head",
        taps=block_taps(
            attn="self_attn",
            attn_proj="self_attn.o_proj",
            mlp="mlp",
            mlp_proj="mlp.down_proj",
            attn_out="post_attention_layernorm",
            resid_mid="pre_feedforward_layernorm:shared",
            mlp_out="post_feedforward_layernorm",
        ),
        softcap=config.final_logit_softcapping,
        **sizes(config, d_mlp=config.intermediate_size, n_context=config.max_position_embeddings),
    )
