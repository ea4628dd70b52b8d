"""Every ranking by the name that `rank` takes."""

from collections.abc import Mapping

from rheostat.base.errors import BadArgument
from rheostat.base.names import did_you_mean
from rheostat.neurons.methods.activation_difference import ACTIVATION_DIFFERENCE
from rheostat.neurons.methods.attribution import ATTRIBUTION
from rheostat.neurons.methods.attribution_difference import ATTRIBUTION_DIFFERENCE
from rheostat.neurons.methods.indirect_effect import INDIRECT_EFFECT
from rheostat.neurons.methods.method import Method
from rheostat.neurons.methods.predictivity import PREDICTIVITY

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (ATTRIBUTION, ATTRIBUTION_DIFFERENCE, ACTIVATION_DIFFERENCE, INDIRECT_EFFECT, PREDICTIVITY)
}


def find_method(name: str) -> Method:
    """Return the ranking of a name.

    Raises:
        BadArgument: there is none.
    """
    if name not in METHODS:
        raise BadArgument(f"no ranking {name!r}.{did_you_mean(name, METHODS)} One of: {', '.join(METHODS)}.")
    return METHODS[name]
