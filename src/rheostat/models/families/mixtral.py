"""Mixtral: Llama's attention with a sparse mixture of experts, whose weights are fused."""

from typing import Any

from rheostat.models.anatomy import Anatomy, block_taps
from rheostat.models.families.sizes import sizes


def anatomy(config: Any) -> Anatomy:
    """Return where the parts of this network are; `neurons` is not offered."""
    taps = block_taps(
        attn="self_attn",
        attn_proj="self_attn.o_proj",
        mlp="mlp",
        mlp_proj="mlp",
        resid_mid="post_attention_layernorm:shared",
    )
    del taps["neurons"]
    return Anatomy(
        family="mixtral",
        blocks="model.layers",
        final="model.norm",
        unembed="lm_head",
        taps=taps,
        refusals={"neurons": "the experts' weights are fused, so no module holds their hidden activations"},
        **sizes(config, d_mlp=config.intermediate_size, n_context=config.max_position_embeddings),
    )
