"""`rank`: how much each unit matters to a topic, by a method's name."""

from collections.abc import Sequence

from rheostat.base.errors import BadArgument
from rheostat.models.network import Network
from rheostat.neurons.methods.registry import find_method
from rheostat.neurons.observation import Asked, Observation, observe
from rheostat.neurons.ranking import Ranking


def rank(
    network: Network,
    method: str,
    target: Asked,
    others: Sequence[Asked] = (),
    *,
    kind: str = "neurons",
    topic: str = "topic",
    progress: bool | None = None,
) -> Ranking:
    """Rank the units of every block by what they did on a topic's items.

    Args:
        network: a language model.
        method: one of `rheostat.neurons.methods.registry.METHODS`.
        target: the topic's items in the network's tokens.
        others: items of each other topic, for methods that compare.
        kind: of the sites: `neurons`, `mlp_in`, `mlp_out`, or another whose units are single numbers.
        topic: its name.
        progress: show a bar on stderr; None: only where stderr is a terminal.

    Raises:
        BadArgument: no such method, it compares and there are no others, or the kind's units are no single numbers.
        SiteNotFound, SiteNotOffered
    """
    _check(method, others)
    seen = [observe(network, one, kind, progress=progress) for one in (target, *others)]
    return rank_observed(network, method, seen[0], seen[1:], topic=topic)


def rank_observed(
    network: Network, method: str, target: Observation, others: Sequence[Observation] = (), *, topic: str = "topic"
) -> Ranking:
    """Rank from what was observed already, as `rank` does: several methods and topics share one observation.

    Raises:
        BadArgument: no such method, or it compares and there are no others.
    """
    _check(method, others)
    scores = find_method(method).score(network, target, others)
    return Ranking(target.kind, scores, method=method, topic=topic, model=network.name, weights=network.weight_hash)


def _check(method: str, others: Sequence[object]) -> None:
    if find_method(method).needs_others and not others:
        raise BadArgument(f"{method} compares with other topics; give the items of at least one.")
