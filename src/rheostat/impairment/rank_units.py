"""`rank_units`: which units of a network matter to a topic, given the tasks of the topic and of others."""

from collections.abc import Sequence

from rheostat.base.errors import BadArgument
from rheostat.base.names import did_you_mean
from rheostat.models.network import Network
from rheostat.neurons.rank import rank
from rheostat.neurons.ranking import Ranking, random_ranking
from rheostat.tasks.item import Task, ask


def rank_units(
    network: Network,
    tasks: Sequence[Task],
    topic: str,
    *,
    method: str = "attribution",
    kind: str = "neurons",
    seed: int = 0,
    progress: bool | None = None,
) -> Ranking:
    """Rank the units of every block by how much they matter to one task; `Ranking.top` makes a cluster of the highest.

    Args:
        network: a language model.
        tasks: the topic's, and those that it is contrasted with.
        topic: name of the task.
        method: `attribution`, `attribution_difference`, `activation_difference`, `indirect_effect`, `predictivity`
            (see `rheostat.neurons.methods`), or `random`, the control.
        kind: of the sites: `neurons`, `mlp_in`, `mlp_out`, or another whose units are single numbers.
        seed: of the random ranking; the others draw nothing.
        progress: show a bar on stderr; None: only where stderr is a terminal.

    Raises:
        BadArgument: no such task or method, or the method compares and there is no other task.
        SiteNotFound, SiteNotOffered, NeedsTokenizer
    """
    by_name = {task.name: task for task in tasks}
    if topic not in by_name:
        raise BadArgument(f"no topic {topic!r}.{did_you_mean(topic, by_name)} One of: {', '.join(by_name)}.")
    if method == "random":
        return random_ranking(network, kind, seed=seed)
    target = ask(network, by_name.pop(topic).items)
    others = [ask(network, task.items) for task in by_name.values()]
    return rank(network, method, target, others, kind=kind, topic=topic, progress=progress)
