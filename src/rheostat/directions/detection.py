"""How well directions tell two sets of texts apart that they were not fitted on, block by block, beside chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from rheostat.base.errors import BadArgument
from rheostat.base.shapes import Profile
from rheostat.directions.bands import Columns, by_block
from rheostat.directions.direction import Direction
from rheostat.directions.directions import Directions
from rheostat.directions.evaluation import auroc_of_lengths
from rheostat.directions.scores import as_directions, block_of
from rheostat.directions.shuffles import shuffled_by_group
from rheostat.engine.stream import capture_batches
from rheostat.metrics.statistics import auroc, auroc_interval
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.sites.positions import PositionsLike

RANDOM_DIRECTIONS = 50
SHUFFLES = 200


@dataclass(frozen=True)
class Separation:
    """How well directions tell texts apart."""

    concept: str
    model: str
    table: pd.DataFrame
    """Rows {site, block, auroc, low, high, shuffled, shuffled_high, random, random_high, n_positive, n_negative,
    n_groups}. `low` and `high`: a 95 % bootstrap interval over groups, exact where the AUROC is 0 or 1 and NaN for two
    groups (`share_interval`). `shuffled`: mean over permuted labels, about 0.5, where texts of one group and label keep
    together; `shuffled_high`: their 97.5 % quantile. `random` and `random_high`: the same of random directions, whose
    sign is chosen on the very texts, which favours them."""
    length: float
    """AUROC of the number of tokens alone, the larger of both signs: what a reader of lengths would reach."""

    def profile(self) -> Profile:
        """Return AUROC by block, with both controls."""
        rows = self.table.dropna(subset=["block"])
        lines: dict[str, Columns] = {
            self.concept: ("auroc", "low", "high"),
            "shuffled labels": ("shuffled", "shuffled", "shuffled_high"),
            "random directions, 97.5 %": ("random_high", None, None),
        }
        first = self.table.iloc[0]
        return Profile(
            name="separation",
            title=f"How well {self.concept} is told by block, {self.model}",
            x_label="block",
            y_label="AUROC on texts not fitted on",
            table=by_block(rows, lines),
            note=f"n = {first['n_positive']} and {first['n_negative']} texts in {first['n_groups']} groups; bands: "
            f"95 % bootstrap intervals over groups. The number of tokens alone: {self.length:.2f}.",
            reference={"chance": 0.5},
        )


def separate(
    network: Network,
    directions: Directions | Direction,
    positives: Sequence[Prompt],
    negatives: Sequence[Prompt],
    *,
    groups: tuple[Sequence[object], Sequence[object]] | None = None,
    positions: PositionsLike = "last",
    batch_size: int = 32,
    seed: int = 0,
) -> Separation:
    """Measure how well each direction tells positives from negatives. Give texts that it was not fitted on.

    A text's score is the mean over the tokens at `positions`.

    Args:
        network: the network that the directions were fitted on.
        directions: one per site.
        positives: texts with more of the concept.
        negatives: texts with less.
        groups: per positive and per negative what it shares with others, such as the country it is about; groups are
            what the bootstrap draws and what exchanges labels (`shuffled_by_group`). None: texts at the same place of
            both lists are a pair, if these are equally long; else each text is its own group.
        positions: the tokens that are read.
        batch_size: texts per pass.
        seed: of the bootstrap and the controls.

    Raises:
        BadArgument: a class is empty, the groups do not fit the texts, or the network gives NaN.
        DirectionNotUsable: a direction belongs to another network.
    """
    many = as_directions(directions)
    for direction in many.values():
        direction.check(network)
    texts = [*positives, *negatives]
    is_positive = np.arange(len(texts)) < len(positives)
    named = _groups(groups, len(positives), len(negatives))
    if not len(positives) or not len(negatives):
        raise BadArgument(f"{len(positives)} positives and {len(negatives)} negatives; both classes need a text.")
    projected = _projections(network, many, texts, positions, batch_size, seed)
    shuffled_labels = _shuffles(is_positive, named, seed)
    rows = []
    for site, values in projected.items():
        found = auroc_interval(values[0], is_positive, named, seed=seed)
        by_chance = auroc(np.broadcast_to(values[0], shuffled_labels.shape), shuffled_labels)
        random = auroc(values[1:], np.broadcast_to(is_positive, values[1:].shape))
        random = np.maximum(random, 1 - random)
        rows.append(
            {
                "site": site,
                "block": block_of(network, site),
                "auroc": found.value,
                "low": found.low,
                "high": found.high,
                "shuffled": float(by_chance.mean()),
                "shuffled_high": float(np.quantile(by_chance, 0.975)),
                "random": float(random.mean()),
                "random_high": float(np.quantile(random, 0.975)),
                "n_positive": len(positives),
                "n_negative": len(negatives),
                "n_groups": found.n,
            }
        )
    lengths = np.array([len(network.row(text)) for text in texts])
    table = pd.DataFrame(rows).astype({"block": "Int64"})
    return Separation(many.concept, network.name, table, auroc_of_lengths(lengths, is_positive))


def _groups(given: tuple[Sequence[object], Sequence[object]] | None, n_positive: int, n_negative: int) -> list[str]:
    if given is None:
        paired = n_positive == n_negative
        second = range(n_negative) if paired else range(n_positive, n_positive + n_negative)
        return [str(one) for one in (*range(n_positive), *second)]
    if (len(given[0]), len(given[1])) != (n_positive, n_negative):
        raise BadArgument(
            f"groups name {len(given[0])} positives and {len(given[1])} negatives; there are {n_positive} and "
            f"{n_negative}."
        )
    return [str(one) for part in given for one in part]


def _shuffles(is_positive: NDArray[np.bool_], groups: list[str], seed: int) -> NDArray[np.bool_]:
    number = np.unique(groups, return_inverse=True)[1]
    return shuffled_by_group(is_positive, number, n=SHUFFLES, rng=np.random.default_rng((seed, 1)))


def _projections(
    network: Network,
    directions: Directions,
    texts: Sequence[Prompt],
    positions: PositionsLike,
    batch_size: int,
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """Return, per site, projections (direction, text): on the direction itself, then on random ones."""
    bases = {}
    for site, direction in directions.items():
        generator = torch.Generator().manual_seed(seed)
        random = torch.randn(RANDOM_DIRECTIONS, *direction.vector.shape, generator=generator, dtype=torch.float64)
        bases[site] = torch.cat([direction.unit.double().cpu()[None], random]).flatten(1)
    found: dict[str, list[NDArray[np.float64]]] = {site: [] for site in directions}
    for held in capture_batches(network, texts, list(directions), positions=positions, batch_size=batch_size):
        for site, basis in bases.items():
            states = held[site].double().cpu().flatten(2).nanmean(1)
            found[site].append((basis @ states.T).numpy())
    return {site: np.concatenate(parts, axis=1) for site, parts in found.items()}
