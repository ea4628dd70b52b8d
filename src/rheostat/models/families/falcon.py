"""Falcon: rotary or ALiBi positions; attention and MLP in parallel in all published sizes but the 1B ALiBi models."""

from typing import Any

from rheostat.models.anatomy import NO_RESID_MID, Anatomy, block_taps
from rheostat.models.families.sizes import sizes


def anatomy(config: Any) -> Anatomy:
    """Return where the parts of this network are."""
    parallel = config.new_decoder_architecture or config.parallel_attn
    return Anatomy(
        family="falcon",
        blocks="transformer.h",
        final="transformer.ln_f",
        unembed="lm_head",
        taps=block_taps(
            attn="self_attention",
            attn_proj="self_attention.dense",
            mlp="mlp",
            mlp_proj="mlp.dense_4h_to_h",
            **({} if parallel else {"resid_mid": "post_attention_layernorm:shared"}),
        ),
        parallel=parallel,
        refusals={"resid_mid": NO_RESID_MID},
        **sizes(
            config,
            d_mlp=config.ffn_hidden_size,
            n_context=None if config.alibi else config.max_position_embeddings,
        ),
    )
