"""Directions fitted on some groups of texts and read on the others, at every block, with the block chosen apart.

Each group is tested once: by directions that were fitted without it, at the block that other groups chose.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from rheostat.directions.methods.method import ClassMeans, Method, Seen
from rheostat.directions.methods.registry import find_method
from rheostat.directions.texts import LabelledTexts, shuffled_labels
from rheostat.metrics.statistics import Values
from rheostat.studies.repe.states import States

FOLDS = 5


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Scores of held-out texts: how far each reaches along a direction, in standard deviations of the fitted texts."""

    scores: Float[np.ndarray, "labelling site text"]
    """Labelling 0: of the true labels; the others of shuffled ones."""
    chosen: Int[np.ndarray, "labelling fold"]
    """Index of the site that other groups chose."""
    fold: Int[np.ndarray, " text"]

    @property
    def at_chosen(self) -> Float[np.ndarray, "labelling text"]:
        """The scores at the sites that others chose."""
        places = self.chosen[:, self.fold]
        found: Values = np.take_along_axis(self.scores, places[:, None], axis=1)[:, 0]
        return found


def folds_of(texts: LabelledTexts, seed: int, folds: int = FOLDS) -> Int[np.ndarray, " text"]:
    """Return each text's fold; the texts of a group share theirs."""
    order = np.random.default_rng(seed).permutation(texts.n_groups)
    place = np.empty(texts.n_groups, dtype=np.int64)
    place[order] = np.arange(texts.n_groups) % folds
    return np.asarray(place[texts.groups])


def cross_fit(
    states: States, texts: LabelledTexts, method: str, *, seed: int, shuffles: int = 0, chosen: CrossFit | None = None
) -> CrossFit:
    """Fit a direction per block and fold, and score the texts of the fold.

    Args:
        states: of the texts.
        texts: labels and groups.
        method: one of `rheostat.directions.methods`.
        seed: of folds and shuffles.
        shuffles: how many times to fit with shuffled labels, blocks chosen alike.
        chosen: take the blocks of this one instead of choosing any.
    """
    fold, kind = folds_of(texts, seed), find_method(method)
    n_sites, n_texts = states.values.shape[:2]
    scores = np.empty((1 + shuffles, n_sites, n_texts))
    places = np.zeros((1 + shuffles, FOLDS), dtype=np.int64)
    labels = shuffled_labels(texts, np.arange(n_texts), n=shuffles, seed=seed)
    order = np.random.default_rng((seed, 1)).choice([-1.0, 1.0], size=n_texts // 2)
    for one in range(FOLDS):
        test, other = fold == one, fold == (one + 1) % FOLDS
        scores[:, :, test] = fit_and_score(states, kind, labels, order, ~test, test)
        if chosen is None:
            tried = fit_and_score(states, kind, labels, order, ~test & ~other, other)
            places[:, one] = _best(tried, labels[:, other])
    return CrossFit(scores, places if chosen is None else chosen.chosen[: 1 + shuffles], fold)


def fit_and_score(
    states: States,
    method: Callable[[ClassMeans], Method],
    labels: Bool[np.ndarray, "labelling text"],
    order: Float[np.ndarray, " pair"],
    fit: Bool[np.ndarray, " text"],
    test: Bool[np.ndarray, " text"],
) -> Float[np.ndarray, "labelling site test"]:
    """Fit at every site on some texts, which hold both texts of a pair or neither, and score others."""
    positive = torch.from_numpy(labels[:, fit])
    first = torch.from_numpy(order[fit[::2]])
    found = []
    for values in states.values:
        fitted = torch.from_numpy(values[fit]).double()
        means = ClassMeans()
        means.take(fitted, positive)
        fitter = method(means)
        fitter.take(Seen(fitted, positive, first))
        units = fitter.units()
        on_fitted = fitted @ units.T
        reached = torch.from_numpy(values[test]).double() @ units.T
        found.append(((reached - on_fitted.mean(0)) / on_fitted.std(0).clamp_min(1e-12)).T.numpy())
    return np.stack(found, axis=1)


def _best(scores: Values, labels: Bool[np.ndarray, "labelling text"]) -> Int[np.ndarray, " labelling"]:
    """Return, per labelling, the block with the largest AUROC (among equals: the widest gap); never the embedding."""
    found = []
    for of_sites, positive in zip(scores, labels, strict=True):
        above, below = of_sites[:, positive], of_sites[:, ~positive]
        won = ((np.sign(above[:, :, None] - below[:, None, :]) + 1) / 2).mean((1, 2))
        gap = (above.mean(1) - below.mean(1)) / np.maximum(of_sites.std(1), 1e-12)
        found.append(1 + int(np.lexsort((gap[1:], won[1:]))[-1]))
    return np.array(found)
