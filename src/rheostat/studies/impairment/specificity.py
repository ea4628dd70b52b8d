"""How much more a topic's cluster hurts its own topic than others, against random clusters, with bootstrap intervals.

With Δ(c, u) the mean rise of the loss on topic u's prompts under damage to cluster c, the statistic of a topic t with
cluster c is S(t, c) = Δ(c, t) − mean of Δ(c, u) over the other topics u; of a ranking, its mean over topics, each with
its own cluster. Averaged over all topics S of any one cluster is exactly 0, whatever the topics' own sensitivities. So
the control of a ranking draws one random cluster *per topic*: what clusters that were not made for their topics would
show by accident. Prompts are resampled by article, within topics, and random clusters anew in every draw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd

from rheostat.metrics.statistics import Interval, Values, percentile_interval

DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Damage:
    """Mean rises of the loss, as measured and resampled."""

    dials: tuple[str, ...]
    topics: tuple[str, ...]
    measured: Values
    """(dial, topic), in nats."""
    resampled: Values
    """(draw, dial, topic): articles drawn with replacement within each topic."""
    n_items: int
    n_groups: int

    def rows(self, dials: Sequence[str]) -> list[int]:
        """Return the places of some dials."""
        return [self.dials.index(dial) for dial in dials]


def damage_of(table: pd.DataFrame, *, seed: int, draws: int = DRAWS) -> Damage:
    """Return the rises of the loss in a table of `impairment_curves` with one intensity per dial.

    Args:
        table: columns dial, task, item, group, loss; the intact network under the dial "".
        seed: of the resampling.
        draws: how often to resample.
    """
    loss = table.drop_duplicates(["task", "item", "dial"]).pivot(
        index=["task", "group", "item"], columns="dial", values="loss"
    )
    rises = loss.drop(columns="").sub(loss[""], axis=0)
    dials, topics = tuple(map(str, rises.columns)), tuple(dict.fromkeys(rises.index.get_level_values("task")))
    rng = np.random.default_rng(seed)
    measured, resampled = np.empty((len(dials), len(topics))), np.empty((draws, len(dials), len(topics)))
    n_groups = 0
    for place, topic in enumerate(topics):
        own = rises.loc[[topic]]
        groups = own.groupby(level="group", sort=True)
        sums, counts = groups.sum().to_numpy(dtype=np.float64), groups.size().to_numpy()
        n_groups += len(counts)
        chosen = rng.integers(0, len(counts), size=(draws, len(counts)))
        resampled[:, :, place] = sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1)[:, None]
        measured[:, place] = sums.sum(axis=0) / counts.sum()
    return Damage(dials, topics, measured, resampled, len(rises), n_groups)


@dataclass(frozen=True)
class Specificity:
    """A ranking's statistic, or one topic's, against random clusters."""

    difference: Interval
    """Of the statistic less that of random clusters, in nats."""
    control: float
    """The random clusters' mean."""
    overall: float
    """Mean rise of the loss over all topics, in nats."""
    overall_random: float
    reached: float
    """Share of assignments (of clusters to topics; for one topic, of random clusters) that reach the statistic."""

    @property
    def effect(self) -> float:
        """The statistic itself, in nats."""
        return self.difference.value + self.control


def of_ranking(found: Damage, own: Mapping[str, str], controls: Sequence[str], *, seed: int) -> Specificity:
    """Return the mean statistic of a ranking's clusters.

    Args:
        found: the measured damage.
        own: topic → dial of its cluster.
        controls: dials of the random clusters, at least as many as topics.
        seed: of which random clusters are drawn.
    """
    rng = np.random.default_rng(seed)
    order = np.arange(len(found.topics))
    mine, random = found.rows([own[topic] for topic in found.topics]), found.rows(controls)
    measured, resampled = own_less_others(found.measured), own_less_others(found.resampled)
    drawn = rng.permuted(np.tile(random, (len(resampled), 1)), axis=1)[:, : len(order)]
    accident = resampled[np.arange(len(resampled))[:, None], drawn, order].mean(axis=1)
    effect = float(measured[mine, order].mean())
    control = float(measured[random].mean())
    difference = percentile_interval(
        effect - control, resampled[:, mine, order].mean(axis=1) - accident, n=found.n_groups
    )
    shuffled = np.array([measured[[mine[one] for one in each], order].mean() for each in permutations(order)])
    return Specificity(
        difference,
        control,
        float(found.measured[mine].mean()),
        float(found.measured[random].mean()),
        float((shuffled >= effect - 1e-12).mean()),
    )


def of_topic(found: Damage, topic: str, dial: str, controls: Sequence[str], *, seed: int) -> Specificity:
    """Return the statistic of one topic's cluster; arguments as in `of_ranking`."""
    rng = np.random.default_rng(seed)
    place, (mine,), random = found.topics.index(topic), found.rows([dial]), found.rows(controls)
    measured, resampled = own_less_others(found.measured)[:, place], own_less_others(found.resampled)[:, :, place]
    drawn = rng.choice(random, size=(len(resampled), len(random)))
    accident = resampled[np.arange(len(resampled))[:, None], drawn].mean(axis=1)
    control = float(measured[random].mean())
    difference = percentile_interval(float(measured[mine]) - control, resampled[:, mine] - accident, n=found.n_groups)
    return Specificity(
        difference,
        control,
        float(found.measured[mine].mean()),
        float(found.measured[random].mean()),
        float((measured[random] >= measured[mine]).mean()),
    )


def own_less_others(rises: Values) -> Values:
    """Return each cluster's rise on every topic less the mean of the other topics' (…, topic)."""
    n = rises.shape[-1]
    others = (rises.sum(axis=-1, keepdims=True) - rises) / (n - 1)
    return np.asarray(rises - others)
