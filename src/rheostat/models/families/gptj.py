"""GPT-J: rotary positions, attention and MLP in parallel behind one norm, eager attention only."""

from typing import Any

from rheostat.models.anatomy import NO_RESID_MID, Anatomy, block_taps
from rheostat.models.families.sizes import sizes


def anatomy(config: Any) -> Anatomy:
    """Return where the parts of this network are."""
    return Anatomy(
        family="gptj",
        blocks="transformer.h",
        final="transformer.ln_f",
        unembed="lm_head",
        taps=block_taps(attn="attn", attn_proj="attn.out_proj", mlp="mlp", mlp_proj="mlp.fc_out"),
        parallel=True,
        own_dtype_softmax=True,
        refusals={"resid_mid": NO_RESID_MID},
        **sizes(config, d_mlp=config.n_inner or 4 * config.n_embd, n_context=config.n_positions),
    )
