"""Llama and its kin (Mistral, SmolLM2, Qwen2, Qwen3): pre-norm, sequential, gated MLP."""

from typing import Any

from rheostat.models.anatomy import Anatomy, block_taps
from rheostat.models.families.sizes import sizes


def anatomy(config: Any) -> Anatomy:
    """Return where the parts of this network are."""
    return Anatomy(
        family="llama",
        blocks="model.layers",
        final="model.norm",
        unembed="lm_head",
        taps=block_taps(
            attn="self_attn",
            attn_proj="self_attn.o_proj",
            mlp="mlp",
            mlp_proj="mlp.down_proj",
            resid_mid="post_attention_layernorm:shared",
        ),
        **sizes(config, d_mlp=config.intermediate_size, n_context=config.max_position_embeddings),
    )
