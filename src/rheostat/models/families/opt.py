"""OPT: learned positions, pre-norm, sequential; the MLP has no module of its own and sees tokens flattened to 2-D."""

from typing import Any

from rheostat.base.errors import UnknownArchitecture
from rheostat.models.anatomy import Anatomy, block_taps
from rheostat.models.families.sizes import sizes


def anatomy(config: Any) -> Anatomy:
    """Return where the parts of this network are.

    Raises:
        UnknownArchitecture: the post-norm variant with projected embeddings (opt-350m).
    """
    if not config.do_layer_norm_before or config.word_embed_proj_dim != config.hidden_size:
        raise UnknownArchitecture(
            "this OPT normalises after each sublayer or projects its embeddings (opt-350m); only pre-norm OPT models "
            "are covered, such as facebook/opt-125m."
        )
    return Anatomy(
        family="opt",
        blocks="model.decoder.layers",
        final="model.decoder.final_layer_norm",
        unembed="lm_head",
        taps=block_taps(
            attn="self_attn",
            attn_proj="self_attn.out_proj",
            mlp="fc1",
            mlp_proj="fc2",
            resid_mid="final_layer_norm:shared",
            mlp_out="fc2",
        ),
        **sizes(config, d_mlp=config.ffn_dim, n_context=config.max_position_embeddings),
    )
