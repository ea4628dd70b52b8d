"""BLOOM: ALiBi positions, sequential; sublayers add the residual stream themselves, so projections are tapped."""

from typing import Any

from rheostat.base.errors import UnknownArchitecture
from rheostat.models.anatomy import Anatomy, block_taps
from rheostat.models.families.sizes import sizes


def anatomy(config: Any) -> Anatomy:
    """Return where the parts of this network are.

    Raises:
        UnknownArchitecture: the residual stream is taken after the norm.
    """
    if config.apply_residual_connection_post_layernorm:
        raise UnknownArchitecture("this BLOOM takes its residual stream after the norm, which rheostat does not cover.")
    return Anatomy(
        family="bloom",
        blocks="transformer.h",
        final="transformer.ln_f",
        unembed="lm_head",
        taps=block_taps(
            attn="self_attention",
            attn_proj="self_attention.dense",
            mlp="mlp",
            mlp_proj="mlp.dense_4h_to_h",
            attn_out="self_attention.dense",
            resid_mid="post_attention_layernorm:shared",
            mlp_out="mlp.dense_4h_to_h",
        ),
        **sizes(config, d_mlp=4 * config.hidden_size, n_context=None),
    )
