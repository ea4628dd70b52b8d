"""GPT-2: learned positions, pre-norm, sequential."""

from typing import Any

from rheostat.models.anatomy import Anatomy, block_taps
from rheostat.models.families.sizes import sizes


def anatomy(config: Any) -> Anatomy:
    """Return where the parts of this network are."""
    return Anatomy(
        family="gpt2",
        blocks="transformer.h",
        final="transformer.ln_f",
        unembed="lm_head",
        taps=block_taps(
            attn="attn", attn_proj="attn.c_proj", mlp="mlp", mlp_proj="mlp.c_proj", resid_mid="ln_2:shared"
        ),
        **sizes(config, d_mlp=config.n_inner or 4 * config.n_embd, n_context=config.n_positions),
    )
