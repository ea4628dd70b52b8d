"""The logit lens (nostalgebraist 2020): the final norm and the unembedding, applied to any residual-sized activation.

At four points of each block, as in Rimsky's decoding of intermediate activations (2023): `attn_out`, `resid_mid`,
`mlp_out`, `resid_post`. The final norm takes the activation at its own scale, so magnitudes are lost.
"""

from jaxtyping import Float
from torch import Tensor

from rheostat.lenses.lens import Lens


class LogitLens(Lens):
    """Reads an activation as if it were the last residual stream."""

    def logits(
        self, activations: Float[Tensor, "*rows d_model"], *, site: str | None = None
    ) -> Float[Tensor, "*rows d_vocab"]:
        """Return the logits (…, d_vocab) of activations (…, d_model)."""
        return self.network.unembed(activations)
