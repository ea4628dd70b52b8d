"""A baseline that no block has touched: the difference of the classes' mean token embeddings."""

from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.directions.methods.method import ClassMeans, Method, Seen


class TokenEmbedding(Method):
    """Mean embedding of the positive texts' tokens less that of the negative ones', the same at every site.

    What it reads or does, the words alone account for. Its length is the distance between the class means at the site,
    so that it is added as strongly as a mean difference; along itself they lie less far apart, or the other way round:
    then the direction has no calibration. Families with learned positions add them to the embeddings.
    """

    name = "token_embedding"
    reads_embeddings = True

    def __init__(self, means: ClassMeans) -> None:
        super().__init__(means)
        self._embedded = ClassMeans()

    def take(self, seen: Seen) -> None:
        """Add the embeddings of some texts."""
        assert seen.embedding is not None
        if seen.embedding.shape[1] != seen.activation.shape[1]:
            raise BadArgument(
                f"token embeddings have the width {seen.embedding.shape[1]}, a site here has "
                f"{seen.activation.shape[1]}: as a baseline they serve in the residual stream only."
            )
        self._embedded.take(seen.embedding, seen.positive.to(seen.embedding.device))

    def vectors(self) -> Float[Tensor, "labelling width"]:
        """Return the difference of mean embeddings."""
        return self._embedded.difference.to(self.means.difference)

    def length(self, unit: Float[Tensor, " width"]) -> float:
        """Return the distance between the class means at the site, in any direction."""
        return float(self.means.difference[0].norm())
