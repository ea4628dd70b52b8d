"""Every method by the name that `fit_directions` takes."""

from collections.abc import Mapping

from rheostat.base.errors import BadArgument
from rheostat.base.names import did_you_mean
from rheostat.directions.methods.leace import Leace
from rheostat.directions.methods.logistic import Logistic
from rheostat.directions.methods.mean_difference import MeanDifference
from rheostat.directions.methods.method import Method
from rheostat.directions.methods.pca import PairPCA
from rheostat.directions.methods.token_embedding import TokenEmbedding

METHODS: Mapping[str, type[Method]] = {
    method.name: method for method in (MeanDifference, PairPCA, Logistic, Leace, TokenEmbedding)
}


def find_method(name: str) -> type[Method]:
    """Return the method of a name.

    Raises:
        BadArgument: there is none.
    """
    if name not in METHODS:
        raise BadArgument(f"no method {name!r}.{did_you_mean(name, METHODS)} One of: {', '.join(METHODS)}.")
    return METHODS[name]
