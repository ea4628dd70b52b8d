"""The clusters of every topic by every ranking, found on prompts of their own, as one table that survives."""

from collections.abc import Mapping, Sequence

import pandas as pd

from rheostat.model import Model
from rheostat.neurons.cluster import Cluster
from rheostat.neurons.observation import observe
from rheostat.neurons.rank import rank_observed
from rheostat.neurons.ranking import random_ranking
from rheostat.studies.part import step_params
from rheostat.studies.study import Context
from rheostat.tasks.item import Task, ask

RANDOM = "random"
Clusters = Mapping[str, Mapping[str, Cluster]]
"""Ranking → topic (of random clusters: seed) → cluster."""


def find_clusters(
    context: Context,
    model: Model,
    tasks: Sequence[Task],
    kind: str,
    methods: Sequence[str],
    *,
    share: float,
    n_random: int,
) -> Clusters:
    """Return every topic's cluster by every ranking, and random ones of the same size.

    Args:
        context: of the study.
        model: a language model.
        tasks: one per topic; each is contrasted with the others.
        kind: of the sites.
        methods: names of rankings.
        share: of each block's units.
        n_random: random clusters.
    """

    def compute() -> pd.DataFrame:
        progress = None if context.show_progress else False
        seen = {task.name: observe(model, ask(model, task.items), kind, progress=progress) for task in tasks}
        rows = []
        for method in methods:
            for topic, mine in context.progress(seen.items(), f"{model.name}: {method} of {kind}"):
                others = [other for name, other in seen.items() if name != topic]
                cluster = rank_observed(model, method, mine, others, topic=topic).top(share)
                rows += [(method, topic, block, unit) for block, units in cluster.units.items() for unit in units]
        return pd.DataFrame(rows, columns=["ranking", "topic", "block", "unit"])

    items = [(task.name, item.prompt, item.answer) for task in tasks for item in task.items]
    params = step_params(model, context, items=items, kind=kind, methods=list(methods), share=share)
    table = context.step(f"clusters-{kind}-{_plain(model)}", params, compute)
    found: dict[str, dict[str, Cluster]] = {
        method: {
            str(topic): _cluster(model, kind, method, str(topic), part)
            for topic, part in own.groupby("topic", sort=False)
        }
        for method, own in ((method, table[table["ranking"] == method]) for method in methods)
    }
    seeds = [context.seed * n_random + number for number in range(n_random)]
    found[RANDOM] = {f"seed {seed}": random_ranking(model, kind, seed=seed).top(share) for seed in seeds}
    return found


def _cluster(model: Model, kind: str, method: str, topic: str, table: pd.DataFrame) -> Cluster:
    units = {int(str(block)): tuple(map(int, own["unit"])) for block, own in table.groupby("block")}
    return Cluster(kind, units, method=method, topic=topic, model=model.name, weights=model.weight_hash)


def _plain(model: Model) -> str:
    return model.name.replace("/", "-")
