"""Do texts of one label lie together? Clusters of their states by block: a score with its controls, then a picture.

A t-SNE picture shows clusters where there are none, and sizes and distances in it mean little (Wattenberg et al., How
to Use t-SNE Effectively, 2016). So the held-out accuracy of nearest centroids and the silhouette of the states decide;
the picture only shows.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rheostat.base.errors import BadArgument, SiteNotFound
from rheostat.base.names import did_you_mean
from rheostat.base.shapes import Profile, Scatter
from rheostat.directions.bands import Columns, by_block
from rheostat.directions.scores import block_of
from rheostat.directions.shuffles import shuffled_by_group
from rheostat.engine.batch import as_prompts
from rheostat.engine.stream import capture_batches
from rheostat.metrics.statistics import bootstrap, share_interval
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.sites.positions import PositionsLike
from rheostat.sites.site import SiteLike, resolve

Values: TypeAlias = NDArray[np.float64]
Picture: TypeAlias = Literal["tsne", "pca"]

SHUFFLES = 20
PERPLEXITY = 30.0


@dataclass(frozen=True)
class Clusters:
    """States of labelled texts at each site, and how far texts of one label lie together."""

    model: str
    labels: tuple[str, ...]
    """Per text."""
    table: pd.DataFrame
    """Rows {site, block, accuracy, low, high, shuffled, shuffled_high, silhouette, silhouette_shuffled,
    silhouette_shuffled_high, n, n_labels, n_groups}. `accuracy`: share of texts nearest to their own label's centroid,
    the centroids being of other groups' texts, with a 95 % bootstrap interval over groups, exact where it is 0 or 1
    (`share_interval`). `shuffled`: the same with permuted labels, the mean and 97.5 % quantile; texts of one group and
    label keep together. `silhouette`: mean silhouette of the labels, from −1 to 1. Near-copies within a group raise it,
    and raise it as much under shuffled labels."""
    states: dict[str, Values] = field(repr=False)
    """Site → (text, width): standardised per dimension."""
    seed: int = 0

    @property
    def chance(self) -> float:
        """The share of the commonest label."""
        return max(self.labels.count(label) for label in set(self.labels)) / len(self.labels)

    def profile(self) -> Profile:
        """Return accuracy and silhouette by block, with their shuffled controls."""
        rows = self.table.dropna(subset=["block"])
        lines: dict[str, Columns] = {
            "nearest centroid, held out": ("accuracy", "low", "high"),
            "accuracy, labels shuffled": ("shuffled", "shuffled", "shuffled_high"),
            "silhouette": ("silhouette", None, None),
            "silhouette, labels shuffled": ("silhouette_shuffled", "silhouette_shuffled", "silhouette_shuffled_high"),
        }
        first = self.table.iloc[0]
        return Profile(
            name="clusters",
            title=f"Clusters of {first['n_labels']} labels by block, {self.model}",
            x_label="block",
            y_label="accuracy, share; silhouette",
            table=by_block(rows, lines),
            note=f"n = {first['n']} texts in {first['n_groups']} groups, which are never split between centroids and "
            "test. Bands: 95 % bootstrap interval over groups; of shuffled labels up to the 97.5 % quantile.",
            reference={"commonest label": self.chance},
        )

    def scatter(self, site: str, *, picture: Picture = "tsne") -> Scatter:
        """Return the texts as points in two dimensions, coloured by label, with the site's scores in the note.

        Args:
            site: one of those that were read.
            picture: `tsne` (of the first 50 principal components) or `pca` (the first two).

        Raises:
            SiteNotFound: the site was not read.
            BadArgument: no such picture.
        """
        if site not in self.states:
            raise SiteNotFound(f"{site!r} was not read.{did_you_mean(site, self.states)}")
        if picture not in ("tsne", "pca"):
            raise BadArgument(f"picture={picture!r}: 'tsne' or 'pca'.")
        places = _pca(self.states[site], 2) if picture == "pca" else tsne(self.states[site], self.seed)
        row = self.table[self.table["site"] == site].iloc[0]
        axis = "principal component" if picture == "pca" else "t-SNE dimension"
        table = pd.DataFrame({"x": places[:, 0], "y": places[:, 1], "series": self.labels})
        return Scatter(
            name=f"clusters-{picture}-{site.replace('.', '-')}",
            title=f"{'PCA' if picture == 'pca' else 't-SNE'} of {len(self.labels)} texts at {site}, {self.model}",
            x_label=f"{axis} 1",
            y_label=f"{axis} 2",
            table=table.sort_values("series", kind="stable").reset_index(drop=True),
            note=f"Held-out nearest-centroid accuracy {row['accuracy']:.2f} [{row['low']:.2f}, {row['high']:.2f}], "
            f"shuffled labels {row['shuffled']:.2f}; silhouette {row['silhouette']:.2f}, shuffled "
            f"{row['silhouette_shuffled']:.2f}. The scores are of the states, not of this picture.",
        )


def find_clusters(
    network: Network,
    texts: Sequence[Prompt],
    labels: Sequence[str],
    sites: "SiteLike | Sequence[SiteLike]" = "blocks.*.resid_post",
    *,
    groups: Sequence[object] | None = None,
    positions: PositionsLike = "last",
    folds: int = 5,
    batch_size: int = 32,
    seed: int = 0,
) -> Clusters:
    """Measure at each site how far the states of texts with one label lie together.

    States are standardised per dimension, since in many models a few dimensions are hundreds of times larger than the
    others and would decide alone.

    Args:
        network: a language model.
        texts: what is read; a text's state is the mean over the tokens at `positions`.
        labels: one per text, of at least two kinds.
        sites: where.
        groups: what texts share, such as the template they were made from: texts of one group never stand on both sides
            of a test, and labels are shuffled by group (`shuffled_by_group`). None: each text is its own group.
        positions: the tokens that are read.
        folds: into how many parts the groups are divided; each is tested once.
        batch_size: texts per pass.
        seed: of the division, the bootstrap, the shuffles and t-SNE.

    Raises:
        BadArgument: labels or groups do not fit the texts, or there are fewer groups than folds.
    """
    listed = as_prompts(texts)
    named, group = _checked(listed, labels, groups, folds)
    fold = _folds(group, folds, seed)
    states = _states(network, listed, sites, positions, batch_size)
    codes = np.unique(named, return_inverse=True)[1]
    rng = np.random.default_rng((seed, 1))
    shuffled = list(shuffled_by_group(codes, group, n=SHUFFLES, rng=rng))
    rows = [
        {"site": site, "block": block_of(network, site), **_judged(values, codes, shuffled, group, fold, seed)}
        for site, values in states.items()
    ]
    table = pd.DataFrame(rows).astype({"block": "Int64"})
    return Clusters(network.name, tuple(named), table, states, seed)


def _checked(
    texts: Sequence[Prompt], labels: Sequence[str], groups: Sequence[object] | None, folds: int
) -> tuple[list[str], NDArray[np.int64]]:
    """Return labels, and the number of each text's group."""
    given = range(len(texts)) if groups is None else groups
    if not len(texts) == len(labels) == len(given):
        raise BadArgument(f"{len(texts)} texts, {len(labels)} labels and {len(given)} groups: one each is needed.")
    if len(set(labels)) < 2:
        raise BadArgument(f"all texts are labelled {labels[0]!r}; clusters need at least two labels.")
    if len(set(labels)) == len(labels):
        raise BadArgument("every text has a label of its own; clusters need several texts per label.")
    group = np.unique([str(one) for one in given], return_inverse=True)[1]
    if not 2 <= folds <= group.max() + 1:
        raise BadArgument(f"folds={folds}: from 2 to {group.max() + 1}, the number of groups.")
    return [str(label) for label in labels], group


def _folds(group: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Return each text's fold; the texts of a group share theirs."""
    order = np.random.default_rng(seed).permutation(group.max() + 1)
    return np.asarray(order[group] % folds)


def _states(
    network: Network,
    texts: list[Prompt],
    sites: "SiteLike | Sequence[SiteLike]",
    positions: PositionsLike,
    batch_size: int,
) -> dict[str, Values]:
    names = [str(site) for site in resolve(network, sites)]
    parts: dict[str, list[Values]] = {name: [] for name in names}
    for held in capture_batches(network, texts, names, positions=positions, batch_size=batch_size):
        for name in names:
            parts[name].append(held[name].flatten(2).double().cpu().nanmean(1).numpy())
    return {name: standardised(np.concatenate(each)) for name, each in parts.items()}


def standardised(states: Values) -> Values:
    """Return states (text, width) with mean 0 and standard deviation 1 in every dimension that varies."""
    spread = states.std(axis=0)
    return np.asarray((states - states.mean(axis=0)) / np.where(spread > 0, spread, 1))


def _judged(
    states: Values,
    codes: NDArray[np.int64],
    shuffled: Sequence[NDArray[np.int64]],
    group: NDArray[np.int64],
    fold: NDArray[np.int64],
    seed: int,
) -> dict[str, float]:
    from sklearn.metrics import silhouette_score

    # products of states give all distances
    squares = (states**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * states @ states.T, 0))
    np.fill_diagonal(distances, 0)
    right = nearest_is_own(states, codes, fold)
    units = np.stack([np.bincount(group, right), np.bincount(group)], axis=1).astype(np.float64)
    accuracy = share_interval(bootstrap(lambda drawn: float(drawn[:, 0].sum() / drawn[:, 1].sum()), units, seed=seed))
    by_chance = [float(nearest_is_own(states, one, fold).mean()) for one in shuffled]
    outlines = [float(silhouette_score(distances, one, metric="precomputed")) for one in (codes, *shuffled)]
    return {
        "accuracy": accuracy.value,
        "low": accuracy.low,
        "high": accuracy.high,
        "shuffled": float(np.mean(by_chance)),
        "shuffled_high": float(np.quantile(by_chance, 0.975)),
        "silhouette": outlines[0],
        "silhouette_shuffled": float(np.mean(outlines[1:])),
        "silhouette_shuffled_high": float(np.quantile(outlines[1:], 0.975)),
        "n": len(codes),
        "n_labels": int(codes.max()) + 1,
        "n_groups": accuracy.n,
    }


def nearest_is_own(states: Values, codes: NDArray[np.int64], fold: NDArray[np.int64]) -> Values:
    """Return, per text, 1 where the nearest centroid of the other folds' texts is that of its own label.

    A label that the other folds lack is never found.
    """
    right = np.zeros(len(codes))
    for one in np.unique(fold):
        test = fold == one
        present = np.unique(codes[~test])
        centroids = np.stack([states[~test & (codes == code)].mean(axis=0) for code in present])
        distances = (centroids**2).sum(axis=1) - 2 * states[test] @ centroids.T
        right[test] = present[distances.argmin(axis=1)] == codes[test]
    return right


def _pca(states: Values, n: int) -> Values:
    """Return the first principal components of centred states; each points where its largest entry is positive."""
    left, sizes, _ = np.linalg.svd(states - states.mean(axis=0), full_matrices=False)
    places = left[:, :n] * sizes[:n]
    signs = np.sign(places[np.abs(places).argmax(axis=0), range(places.shape[1])])
    return np.asarray(places * np.where(signs == 0, 1, signs))


def tsne(states: Values, seed: int) -> Values:
    """Return places (text, 2) by t-SNE of the first 50 principal components."""
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(states) - 1) / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # threads and round-off, nothing about the result
        places = TSNE(2, perplexity=perplexity, random_state=seed, init="pca").fit_transform(_pca(states, 50))
    return np.asarray(places, dtype=np.float64)
