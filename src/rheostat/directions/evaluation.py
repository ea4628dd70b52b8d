"""How well a direction tells the classes apart on texts that it was not fitted on, beside its controls."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rheostat.directions.direction import Calibration
from rheostat.directions.texts import Division, Indices, LabelledTexts
from rheostat.metrics.statistics import Interval, auroc, auroc_interval, bootstrap_weights, share_interval

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Projections:
    """How far each held-out text reaches along unit vectors at one site, in the order of `Division.held_out`."""

    found: Numbers
    """(text)"""
    shuffled: Numbers
    """(text, shuffle): along directions fitted with shuffled labels."""
    random: Numbers
    """(text, draw): along random directions, turned towards the positive class of the fitted texts."""


def evaluate(
    texts: LabelledTexts, division: Division, projections: Projections, *, midpoint: float, seed: int
) -> dict[str, float]:
    """Return the figures of one site, of the report's texts but for `choice` and `choice_effect`.

    `accuracy` is the share of pairs whose positive text reaches further (a tie counts half); of texts without pairs it
    is the same comparison of all positive with all negative texts, the AUROC.

    Args:
        texts: all texts.
        division: of them.
        projections: on the site's direction and its controls.
        midpoint: half way between the class means of the fitted texts: the threshold.
        seed: of the bootstrap over groups.
    """
    chosen, part = division.choice, division.report
    known, scores = projections.found[: len(chosen)], projections.found[len(chosen) :]
    right = _right(texts, part, scores)
    area = auroc_interval(scores, texts.positive[part], texts.groups[part].tolist(), seed=seed)
    above = ((scores > midpoint) == texts.positive[part]).astype(np.float64)
    intervals = {
        "accuracy": area if right is None else _mean_by_group(texts.groups[part[::2]], right, seed=seed),
        "threshold": _mean_by_group(texts.groups[part], above, seed=seed),
        "auroc": area,
    }
    shuffled = [accuracy(texts, part, one) for one in projections.shuffled[len(chosen) :].T]
    random = [accuracy(texts, part, one) for one in projections.random[len(chosen) :].T]
    return {
        "accuracy": intervals["accuracy"].value,
        "low": intervals["accuracy"].low,
        "high": intervals["accuracy"].high,
        "shuffled": _mean(shuffled),
        "shuffled_sd": _spread(shuffled),
        "random": _mean(random),
        "random_sd": _spread(random),
        "effect_size": calibration(texts, part, scores).effect_size,
        "threshold": intervals["threshold"].value,
        "threshold_low": intervals["threshold"].low,
        "threshold_high": intervals["threshold"].high,
        "auroc": intervals["auroc"].value,
        "auroc_low": intervals["auroc"].low,
        "auroc_high": intervals["auroc"].high,
        "by_length": auroc_of_lengths(texts.lengths[part], texts.positive[part]),
        "n": float(len(part) // 2 if texts.paired else len(part)),
        "n_groups": float(intervals["auroc"].n),
        "choice": accuracy(texts, chosen, known),
        "choice_effect": calibration(texts, chosen, known).effect_size,
    }


def accuracy(texts: LabelledTexts, part: Indices, scores: Numbers) -> float:
    """Return the share of comparisons in which the positive text reaches further: within pairs, or of all with all."""
    right = _right(texts, part, scores)
    if right is not None:
        return float(right.mean())
    return float(auroc(scores, texts.positive[part]))


def calibration(texts: LabelledTexts, part: Indices, scores: Numbers) -> Calibration:
    """Return where the classes of some texts lie along a direction."""
    positive = texts.positive[part]
    sides = scores[positive], scores[~positive]
    degrees = len(scores) - 2
    squares = sum(float(((side - side.mean()) ** 2).sum()) for side in sides)
    return Calibration(
        float(sides[0].mean()), float(sides[1].mean()), float(np.sqrt(squares / degrees)) if degrees else float("nan")
    )


def auroc_of_lengths(lengths: Indices, is_positive: np.ndarray) -> float:
    """Return the AUROC of the number of tokens alone, the larger of both signs: what a reader of lengths reaches."""
    area = float(auroc(lengths.astype(np.float64), is_positive))
    return max(area, 1 - area)


def _right(texts: LabelledTexts, part: Indices, scores: Numbers) -> Numbers | None:
    """Return, per pair, 1 where its positive text reaches further, ½ for a tie; None for texts without pairs."""
    return (np.sign(scores[::2] - scores[1::2]) + 1) / 2 if texts.paired else None


def _mean_by_group(groups: Indices, values: Numbers, *, seed: int) -> Interval:
    """Return the mean of values from 0 to 1, resampled over their groups."""
    _, number = np.unique(groups, return_inverse=True)
    totals, counts = np.bincount(number, values), np.bincount(number)
    found = bootstrap_weights(lambda weights: weights @ totals / (weights @ counts), len(counts), seed=seed)
    return share_interval(found)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _spread(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
