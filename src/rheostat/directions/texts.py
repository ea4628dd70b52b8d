"""Texts of two classes, what belongs together among them, and their division into fitting, choice and report."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from rheostat.base.errors import BadArgument, DirectionNotUsable, EmptyPrompt
from rheostat.directions.pairs import ContrastPair
from rheostat.directions.shuffles import shuffled_by_group
from rheostat.models.network import Network

Indices = NDArray[np.int64]

LEAST_GROUPS = 6
"""Two to fit on, two to choose the site by, two to report on: the fewest that can be held out of."""


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Texts, each with more of the concept or with less."""

    texts: tuple[str, ...]
    lengths: Indices
    """Tokens per text."""
    positive: NDArray[np.bool_]
    groups: Indices
    """Number of each text's group; a group is never divided, and those that share a text are one."""
    paired: bool
    """Whether texts 2i and 2i + 1 are the positive and the negative one of pair i."""

    @property
    def n_groups(self) -> int:
        """How many groups there are."""
        return int(self.groups.max()) + 1


@dataclass(frozen=True, eq=False)
class Division:
    """Which texts serve for what, by index; all texts of a group serve for the same."""

    fit: Indices
    choice: Indices
    """By these the best site is chosen; empty: nothing is held out."""
    report: Indices
    """By these the figures of the table are measured."""

    @property
    def held_out(self) -> Indices:
        """Those that nothing is fitted on."""
        return np.concatenate([self.choice, self.report])


def texts_of_pairs(network: Network, pairs: Sequence[ContrastPair]) -> LabelledTexts:
    """Return the texts of contrast pairs, positive and negative in turns.

    Groups that share a text are one: otherwise it could be fitted on and held out at once.

    Raises:
        DirectionNotUsable: a text holds no token of its own.
    """
    numbers = _numbered([pair.group or f"pair {number}" for number, pair in enumerate(pairs)])
    texts = [text for pair in pairs for text in (pair.positive, pair.negative)]
    names = [f"pair {number}, {side} text" for number in range(len(pairs)) for side in ("positive", "negative")]
    return LabelledTexts(
        texts=tuple(texts),
        lengths=_lengths(network, texts, names),
        positive=np.tile([True, False], len(pairs)),
        groups=_joined(np.repeat(numbers, 2), texts),
        paired=True,
    )


def texts_of_classes(
    network: Network, positives: Sequence[str], negatives: Sequence[str], groups: Sequence[str] | None
) -> LabelledTexts:
    """Return labelled texts that are no pairs.

    Without groups, the i-th text of one class shares one with the i-th of the other, so that each part of a division
    holds both. Groups that share a text are one.

    Raises:
        DirectionNotUsable: a class is empty, or a text holds no token of its own.
        BadArgument: there are not as many groups as texts, or one is no text.
    """
    for name, given in (("positives", positives), ("negatives", negatives)):
        if isinstance(given, str):
            raise BadArgument(f"{name} is one text; give a list of texts.")
        if not len(given):
            raise DirectionNotUsable(f"{name} is empty: a direction needs texts of both classes.")
    texts = [*positives, *negatives]
    if groups is not None and len(groups) != len(texts):
        raise BadArgument(f"{len(groups)} groups for {len(texts)} texts: one each, those of the positives first.")
    counted = [*map(str, range(len(positives))), *map(str, range(len(negatives)))]
    names = [f"positive text {n}" for n in range(len(positives))] + [
        f"negative text {n}" for n in range(len(negatives))
    ]
    return LabelledTexts(
        texts=tuple(texts),
        lengths=_lengths(network, texts, names),
        positive=np.arange(len(texts)) < len(positives),
        groups=_joined(_numbered(counted if groups is None else groups), texts),
        paired=False,
    )


def divide(texts: LabelledTexts, *, held_out: int | float, seed: int) -> Division:
    """Divide texts by group: a share is held out, half of it for the choice of the site and half for the report.

    Raises:
        BadArgument: `held_out` is not within 0 to below 1.
        DirectionNotUsable: there are too few groups, or a part holds one class alone.
    """
    if not 0 <= held_out < 1:
        raise BadArgument(f"held_out={held_out}: the share of groups that is held out, from 0 to below 1.")
    n = texts.n_groups
    everything, nothing = np.arange(len(texts.texts)), np.array([], dtype=np.int64)
    if held_out == 0:
        return Division(everything, nothing, nothing)
    n_held = max(LEAST_GROUPS - 2, round(held_out * n))
    if n - n_held < 2:
        raise DirectionNotUsable(
            f"{n} group{'' if n == 1 else 's'} of texts cannot be divided: at least {LEAST_GROUPS} are needed, 2 to "
            f"fit on, 2 to choose the site by, 2 to report on, and held_out={held_out} would take {n_held}. Groups "
            "that share a text count as one. Give more groups, or held_out=0 for directions without figures."
        )
    order = np.random.default_rng(seed).permutation(n)
    parts = order[n_held:], order[: n_held // 2], order[n_held // 2 : n_held]
    fit, choice, report = (everything[np.isin(texts.groups, part)] for part in parts)
    for name, part in (("fitting", fit), ("the choice", choice), ("the report", report)):
        if len(set(texts.positive[part])) < 2:
            raise DirectionNotUsable(
                f"the texts for {name} are all of one class: the groups hold one class each. Give groups that hold "
                "both, another seed, or more texts."
            )
    return Division(fit, choice, report)


def shuffled_labels(texts: LabelledTexts, fit: Indices, *, n: int, seed: int) -> NDArray[np.bool_]:
    """Return labels (1 + n, text): the true ones, then shuffled ones.

    In pairs, half of the fitted groups exchange their labels, each with all its pairs; otherwise the labels of the
    fitted texts are permuted as their groups allow (`shuffled_by_group`).
    """
    rng = np.random.default_rng(seed)
    labels = np.tile(texts.positive, (1 + n, 1))
    if not texts.paired:
        labels[1:, fit] = shuffled_by_group(texts.positive[fit], texts.groups[fit], n=n, rng=rng)
        return labels
    groups = np.unique(texts.groups[fit])
    for row in labels[1:]:
        exchanged = rng.permutation(groups)[: _half(len(groups), rng)]
        row[np.isin(texts.groups, exchanged)] ^= True
    return labels


def drawn_order(texts: LabelledTexts, fit: Indices, *, seed: int) -> NDArray[np.float64]:
    """Return ±1 for each of the fitted pairs at the index of its first text, half of each sign; 0 elsewhere."""
    order = np.zeros(len(texts.texts))
    firsts = fit[::2]
    order[firsts] = np.random.default_rng((seed, 1)).permutation(np.resize([1.0, -1.0], len(firsts)))
    return order


def _half(n: int, rng: np.random.Generator) -> int:
    """Return half of n; of an odd number one more or one less, by chance."""
    return n // 2 + (int(rng.integers(2)) if n % 2 else 0)


def _joined(groups: Indices, texts: Sequence[str]) -> Indices:
    """Return the number of each text's group, where groups that hold the same text are one."""
    n = int(groups.max()) + 1
    links = groups, n + _numbered(texts)
    size = n + len(texts)
    _, component = connected_components(coo_matrix((np.ones(len(texts)), links), (size, size)), directed=False)
    return _numbered(component[groups].tolist())


def _numbered(names: Sequence[Hashable]) -> Indices:
    """Return a number for each name, equal for equal ones, from 0 in the order of first appearance."""
    known: Mapping[Hashable, int] = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([known[name] for name in names], dtype=np.int64)


def _lengths(network: Network, texts: Sequence[str], names: Sequence[str]) -> Indices:
    """Count the tokens of texts, and refuse those that hold special tokens alone."""
    special = frozenset(network.tokens.tokenizer.all_special_ids)
    lengths = []
    for text, name in zip(texts, names, strict=True):
        try:
            ids = network.row(text).ids
        except EmptyPrompt as error:
            raise DirectionNotUsable(f"{name}: {text!r} holds no token for {network.name}.") from error
        if special.issuperset(ids):
            raise DirectionNotUsable(f"{name}: {text!r} holds no token of its own for {network.name}.")
        lengths.append(len(ids))
    return np.array(lengths, dtype=np.int64)
