"""GPT-NeoX (Pythia): rotary positions; attention and MLP in parallel unless the config says otherwise."""

from typing import Any

from rheostat.models.anatomy import NO_RESID_MID, Anatomy, block_taps
from rheostat.models.families.sizes import sizes


def anatomy(config: Any) -> Anatomy:
    """Return where the parts of this network are."""
    parallel = config.use_parallel_residual
    return Anatomy(
        family="gpt_neox",
        blocks="gpt_neox.layers",
        final="gpt_neox.final_layer_norm",
        unembed="lm_head",
        taps=block_taps(
            attn="attention",
            attn_proj="attention.dense",
            mlp="mlp",
            mlp_proj="mlp.dense_4h_to_h",
            attn_out="post_attention_dropout",
            mlp_out="post_mlp_dropout",
            **({} if parallel else {"resid_mid": "post_attention_layernorm:shared"}),
        ),
        parallel=parallel,
        refusals={"resid_mid": NO_RESID_MID},
        **sizes(config, d_mlp=config.intermediate_size, n_context=config.max_position_embeddings),
    )
