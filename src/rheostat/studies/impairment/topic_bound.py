"""Hypothesis B: is damage to a topic's cluster specific to the topic? All rankings and modes, and a planted case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import pandas as pd

from rheostat.model import Model
from rheostat.neurons.methods.registry import METHODS
from rheostat.neurons.overlap import jaccard
from rheostat.studies.impairment.found_clusters import RANDOM, find_clusters
from rheostat.studies.impairment.matched_damage import MODES, TARGET, Measured, Setting, measure_matched
from rheostat.studies.impairment.planted import planted_model, planted_tasks
from rheostat.studies.impairment.specificity import Damage, Specificity, damage_of, of_ranking, of_topic
from rheostat.studies.impairment.specificity_figures import overlap_figure, rises_figure, specificity_figure
from rheostat.studies.impairment.topics import topic_tasks
from rheostat.studies.judging import measurement, number
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict, VerdictName
from rheostat.studies.study import Context
from rheostat.tasks.item import Task

CLAIM = "impair-4"
STATEMENT = "Damaging the cluster of one topic hurts all topics alike: no topic specificity"
SHARE = 0.02
"""Of each block's units."""
USEFUL = TARGET / 2
"""Nats that the own topic suffers beyond the others in an effect of useful size: half the damage that is aimed at."""
PLANTED = "planted network"


INTRODUCTION = (
    f"Each topic's cluster holds {100 * SHARE:g} % of every block's units, found on one half of the articles; damage "
    "is measured on prompts of the other half, the shortest that the model has a fair chance on. The intensity is "
    f"chosen for each ranking and mode so that the loss rises by about {TARGET} nats over all topics together, where "
    "the mode reaches that: shrinking a random cluster to nothing may not. `reached_by` is the share of all "
    "assignments of a ranking's clusters to topics that reach the true one's statistic: another control, of equal "
    "damage and importance."
)


@dataclass(frozen=True)
class Size:
    """How much of it."""

    n_asked: int
    """Prompts of each topic and half of the articles, of which the shortest are taken: they cost least."""
    n_find: int
    """Prompts of each topic that clusters are found on."""
    n_measure: int
    n_random: int
    methods: tuple[str, ...]
    settings: tuple[Setting, ...]
    beside: tuple[str, ...]
    """Rankings of every site but the first."""
    share: float = SHARE


FULL = Size(
    n_asked=40,
    n_find=24,
    n_measure=20,
    n_random=20,
    methods=tuple(METHODS),
    settings=(Setting("neurons", MODES, 5, 3), Setting("mlp_out", ("gaussian",), 5, 3)),
    beside=("attribution",),
)
QUICK = Size(
    n_asked=8,
    n_find=5,
    n_measure=2,
    n_random=5,
    methods=("attribution",),
    settings=(Setting("neurons", ("gaussian",), 2, 1),),
    beside=(),
)
OF_PLANTED = Size(
    n_asked=24,
    n_find=24,
    n_measure=12,
    n_random=20,
    methods=tuple(METHODS),
    settings=(Setting("neurons", MODES, 5, 6, target=0.25, times=10.0),),
    beside=(),
    share=0.01,
)
"""Own units alone carry a topic there, so that all topics together lose a fifth of what the own one loses."""


def run(context: Context) -> Part:
    """Find clusters and damage them, on every model and on the planted network; judge."""
    size = QUICK if context.quick else FULL
    found: list[Measured] = []
    for model in context.models:
        find = shortest(topic_tasks(context, model, size.n_asked, part="find"), size.n_find)
        tasks = shortest(topic_tasks(context, model, size.n_asked, part="measure"), size.n_measure)
        found += measure(context, model, size, find, tasks)
    known = replace(OF_PLANTED, methods=size.methods, n_random=size.n_random)
    planted = measure(
        context,
        planted_model(),
        known,
        planted_tasks(known.n_find, seed=context.seed),
        planted_tasks(known.n_measure, seed=context.seed + 1),
    )
    return judged(found, [replace(one, model=PLANTED) for one in planted], context.seed)


def measure(context: Context, model: Model, size: Size, find: Sequence[Task], tasks: Sequence[Task]) -> list[Measured]:
    """Return what damage did at every site."""
    found = []
    for place, setting in enumerate(size.settings):
        methods = size.beside if place else size.methods
        clusters = find_clusters(context, model, find, setting.kind, methods, share=size.share, n_random=size.n_random)
        table = measure_matched(context, model, setting, clusters, find, tasks)
        found.append(Measured(model.name, setting.kind, clusters, table))
    return found


def shortest(tasks: Sequence[Task], n: int) -> tuple[Task, ...]:
    """Return the n shortest items of every task, in their order."""
    found = []
    for task in tasks:
        lengths = [len(item.prompt) for item in task.items]
        chosen = sorted(range(len(task)), key=lengths.__getitem__)[:n]
        found.append(Task(task.name, tuple(task.items[place] for place in sorted(chosen))))
    return tuple(found)


def judged(found: Sequence[Measured], planted: Sequence[Measured], seed: int) -> Part:
    """Return the part: the statistic of all rankings, its figures and the verdict."""
    rows, topics, rises, deciding = [], [], [], []
    seen: dict[str, list[Specificity]] = {PLANTED: []}
    for one in (*found, *planted):
        for mode in one.table["mode"].unique():
            damage = damage_of(_of_mode(one.table, mode), seed=seed)
            rises += _rises(one, mode, damage)
            for ranking in one.rankings:
                whole = of_ranking(damage, _own(one, ranking), _controls(one), seed=seed)
                rows.append(_row(one, mode, ranking, whole))
                topics += [
                    {
                        **_row(one, mode, ranking, of_topic(damage, topic, dial, _controls(one), seed=seed)),
                        "topic": topic,
                    }
                    for topic, dial in _own(one, ranking).items()
                ]
                if one.model == PLANTED:
                    seen[PLANTED].append(whole)
                else:
                    deciding.append(_measurement(one, mode, ranking, whole))
    table, by_topic, by_prompts = pd.DataFrame(rows), pd.DataFrame(topics), pd.DataFrame(rises)
    planted_found = all(one.difference.low > 0 and one.effect >= USEFUL for one in seen[PLANTED])
    figures = (
        *(specificity_figure(one, table, number) for number, one in enumerate((*found, *planted))),
        *(rises_figure(one, by_prompts, number) for number, one in enumerate((*found, *planted))),
        *(overlap_figure(one, number) for number, one in enumerate(found)),
    )
    overlap = pd.DataFrame([row for one in (*found, *planted) for row in _overlaps(one)])
    tables = {
        "specificity": table,
        "specificity-by-topic": by_topic,
        "rises": by_prompts,
        "cluster-overlap": overlap,
    }
    sections = (
        Section(
            "Is damage to a topic's cluster specific to the topic?",
            _text(table),
            figures=tuple(figure.name for figure in figures if figure.name.startswith(("specificity", "rises"))),
            tables=("specificity", "specificity-by-topic", "rises"),
        ),
        Section(
            "Do topics share units?",
            _overlap_text(overlap),
            figures=tuple(figure.name for figure in figures if figure.name.startswith("cluster-overlap")),
            tables=("cluster-overlap",),
        ),
    )
    return Part(sections, tables, figures, (_verdict(deciding, planted_found),))


def judge_null(deciding: Sequence[Measurement], *, planted_found: bool, useful: float) -> VerdictName:
    """Return the verdict on a claim that there is no effect.

    contradicted: every interval lies above zero; partly: some do; reproduced: none does, none reaches a useful size,
    and the planted case was found; else it is not testable here.
    """
    above = [one.low > 0 for one in deciding]
    if not deciding:
        return "not testable here"
    if all(above):
        return "contradicted"
    if any(above):
        return "partly"
    narrow = all(one.high < useful for one in deciding)
    return "reproduced" if planted_found and narrow else "not testable here"


def _verdict(deciding: Sequence[Measurement], planted_found: bool) -> Verdict:
    specific = [one for one in deciding if one.low > 0]
    wide = [one for one in deciding if one.low <= 0 and one.high >= USEFUL]
    counts = (
        f"In {len(specific)} of {len(deciding)} comparisons (ranking, mode, site, model) the own topic suffers more, "
        f"beyond random clusters, where chance alone would give {number(0.025 * len(deciding))}; in {len(wide)} of the "
        f"others {number(USEFUL)} nats are not excluded."
    )
    large = "is" if planted_found else "is not"
    said = [counts, f"In the planted network the statistic {large} large for every ranking and mode."]
    if specific:
        named = dict.fromkeys(f"{one.quantity} ({one.model})" for one in specific)
        said.append(f"Specific: {'; '.join(named)}.")
    verdict = judge_null(deciding, planted_found=planted_found, useful=USEFUL)
    return Verdict(CLAIM, STATEMENT, verdict, " ".join(said), tuple(deciding))


def _measurement(one: Measured, mode: str, ranking: str, found: Specificity) -> Measurement:
    return measurement(
        one.model,
        f"{ranking}, {mode} at {one.kind}: rise of the loss on the own topic less others, nats",
        found.difference,
        control=found.control,
        unit="articles and random clusters",
        control_name="random clusters",
    )


def _row(one: Measured, mode: str, ranking: str, found: Specificity) -> dict[str, object]:
    table = one.table[(one.table["mode"] == mode) & (one.table["dial"] != "")]
    intensity = {name: float(own["intensity"].iloc[0]) for name, own in table.groupby("ranking")}
    return {
        "model": one.model,
        "kind": one.kind,
        "mode": mode,
        "ranking": ranking,
        "intensity": intensity[ranking],
        "intensity_random": intensity[RANDOM],
        "own_less_others": found.effect,
        "random": found.control,
        "low": found.difference.low,
        "high": found.difference.high,
        "overall": found.overall,
        "overall_random": found.overall_random,
        "share_of_overall": found.effect / found.overall if found.overall > 0 else float("nan"),
        "reached_by": found.reached,
        "n_articles": found.difference.n,
    }


def _rises(one: Measured, mode: str, damage: Damage) -> list[dict[str, object]]:
    """Return the rise of the loss of every cluster on every topic's prompts, random clusters averaged."""
    rows = []
    for ranking in one.rankings:
        for cluster, dial in _own(one, ranking).items():
            (place,) = damage.rows([dial])
            for prompts, rise in zip(damage.topics, damage.measured[place], strict=True):
                rows.append((one.label, mode, ranking, cluster, prompts, float(rise)))
    mean = damage.measured[damage.rows(_controls(one))].mean(axis=0)
    for prompts, rise in zip(damage.topics, mean, strict=True):
        rows.append((one.label, mode, RANDOM, f"mean of {len(_controls(one))}", prompts, float(rise)))
    columns = ("where", "mode", "ranking", "cluster", "prompts", "rise")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _overlaps(one: Measured) -> list[dict[str, object]]:
    """Return the mean Jaccard index of the topics' clusters by ranking, and of random ones."""
    return [
        {"where": one.label, "ranking": ranking, "first": first, "second": second, "jaccard": jaccard(own, other)}
        for ranking, clusters in one.clusters.items()
        for (first, own), (second, other) in combinations(clusters.items(), 2)
    ]


def _text(table: pd.DataFrame) -> str:
    said = [INTRODUCTION]
    for (model, kind), own in table.groupby(["model", "kind"], sort=False):
        parts = [
            f"{row['ranking']}, {row['mode']}: {number(row['own_less_others'])} against {number(row['random'])} "
            f"[{number(row['low'])}, {number(row['high'])}] at an overall rise of {number(row['overall'])}"
            for row in own.to_dict("records")
        ]
        said.append(f"{model}, {kind} (difference's interval in brackets, nats): {'; '.join(parts)}.")
    return "\n\n".join(said)


def _overlap_text(table: pd.DataFrame) -> str:
    means = table.groupby(["where", "ranking"], sort=False)["jaccard"].mean().reset_index()
    said = "; ".join(f"{row['where']}, {row['ranking']}: {row['jaccard']:.3f}" for row in means.to_dict("records"))
    return f"Mean Jaccard index of the clusters of two topics (of two random clusters as the control): {said}."


def _of_mode(table: pd.DataFrame, mode: str) -> pd.DataFrame:
    return table[table["mode"] == mode]


def _own(one: Measured, ranking: str) -> Mapping[str, str]:
    return {topic: f"{ranking}: {topic}" for topic in one.clusters[ranking]}


def _controls(one: Measured) -> list[str]:
    return [f"{RANDOM}: {name}" for name in one.clusters[RANDOM]]
