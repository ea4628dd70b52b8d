"""What networks say of images while a − b is added, by pair and digit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax
from torch import Tensor

from rheostat.edit.arithmetic import Add
from rheostat.engine.cells import Cell
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.mnist_addition.digits import Digits

PAIRS = ~np.eye(10, dtype=bool)
"""(a, b): the 90 pairs of two digits."""
CHUNK = 500
"""Images of one sweep."""
ANSWERS = ("probability", "logit", "answer")


def _logit(output: Tensor, digit: int) -> Tensor:
    return output[:, digit]


LOGITS = {f"logit {digit}": partial(_logit, digit=digit) for digit in range(10)}


def respond(
    model: Model, site: str, vectors: Float[Tensor, "10 10 *site"], coefficient: float, on: Digits
) -> pd.DataFrame:
    """Add the vector of every pair at one site and return what the network says, as means by pair and digit.

    Args:
        model: a plain module with ten outputs.
        site: a module path.
        vectors: by (a, b).
        coefficient: factor of the vectors.
        on: the images that it is shown.

    Returns:
        Rows {a, b, digit, count, nll, and for each answer 0 to 9 its mean probability, mean logit and share}.
    """
    edits = [Add(site, vector, strength=coefficient) for vector in vectors.flatten(0, 1)]
    cells = [Cell(edit, {"a": cell // 10, "b": cell % 10}) for cell, edit in enumerate(edits)]
    sums = {"nll": np.zeros((100, 10)), **{name: np.zeros((100, 10, 10)) for name in ANSWERS}}
    for start in range(0, len(on), CHUNK):
        some = on.take(slice(start, start + CHUNK))
        table = model.sweep_plain(some.images, cells, LOGITS)
        logits = table[list(LOGITS)].to_numpy().reshape(len(some), len(cells), 10)
        for name, total in _sums(logits, some.labels.numpy()).items():
            sums[name] += total
    counts = np.bincount(on.labels.numpy(), minlength=10)
    return _as_table(sums, counts)


def _sums(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, Values]:
    """Return sums over the images of each digit: nll (cell, digit), the others (cell, digit, answer)."""
    of_digit = np.eye(10)[labels]
    nll = logsumexp(logits, axis=-1) - logits[np.arange(len(labels)), :, labels]
    answered = np.eye(10)[logits.argmax(-1)]
    by_answer = {"probability": softmax(logits, axis=-1), "logit": logits, "answer": answered}
    summed = {name: np.tensordot(of_digit, each, axes=(0, 0)).swapaxes(0, 1) for name, each in by_answer.items()}
    return {"nll": (of_digit.T @ nll).T, **summed}


def _as_table(sums: dict[str, Values], counts: NDArray[np.int64]) -> pd.DataFrame:
    pair, digit = (index.ravel() for index in np.indices((100, 10)))
    columns: dict[str, NDArray[Any]] = {"a": pair // 10, "b": pair % 10, "digit": digit, "count": counts[digit]}
    columns["nll"] = (sums["nll"] / counts).ravel()
    for name in ANSWERS:
        means = (sums[name] / counts[:, None]).reshape(1000, 10)
        columns |= {f"{name} {answer}": means[:, answer].astype(np.float32) for answer in range(10)}
    return pd.DataFrame(columns)


@dataclass(frozen=True)
class Responses:
    """What some networks say under one kind of vector, by (network, a, b, digit of the image).

    Where a = b nothing is added: those are the answers of the network as it is.
    """

    counts: NDArray[np.int64]
    """Images per digit (digit,)."""
    nll: Values
    """Mean cross-entropy in nats (network, a, b, digit)."""
    probability: Values
    """Mean probability of each answer (network, a, b, digit, answer)."""
    logit: Values
    answer: Values
    """Share of the images that get each answer."""

    @classmethod
    def of(cls, tables: Sequence[pd.DataFrame]) -> "Responses":
        """Read the tables that `respond` made of some networks."""
        shape = (len(tables), 10, 10, 10)
        whole = pd.concat(tables, ignore_index=True)
        means = [whole[[f"{name} {i}" for i in range(10)]].to_numpy(np.float64).reshape(*shape, 10) for name in ANSWERS]
        counts = whole["count"].to_numpy(np.int64)[:10]
        return cls(counts, whole["nll"].to_numpy(np.float64).reshape(shape), *means)

    @cached_property
    def loss(self) -> Values:
        """Mean cross-entropy over all images but those of b (network, a, b), in nats; what the post reports."""
        return self._without_b(self.nll)

    @cached_property
    def accuracy(self) -> Values:
        """Share of all images but those of b that are told right (network, a, b)."""
        return self._without_b(np.einsum("nabdd->nabd", self.answer))

    @cached_property
    def clean(self) -> Values:
        """Mean probability without any vector (network, digit, answer)."""
        return self.probability[:, 0, 0]

    def on_images_of_b(self, values: Values) -> Values:
        """Return a quantity by answer on the images of b alone: (network, a, b, answer)."""
        return np.asarray(np.einsum("nabbk->nabk", values))

    def on_others(self, values: Values) -> Values:
        """Return a quantity, with any axes after the digit, as the mean over the digits that are neither a nor b."""
        a, b, digit = np.indices((10, 10, 10))
        other = ((digit != a) & (digit != b)).astype(float)
        return np.asarray(np.einsum("nabd...,abd->nab...", values, other / other.sum(-1, keepdims=True)))

    def _without_b(self, values: Values) -> Values:
        weights = np.broadcast_to(self.counts, (10, 10)) * (1 - np.eye(10))
        return np.asarray(np.einsum("nabd,bd->nab", values, weights / weights.sum(1, keepdims=True)))


def of_pairs(values: Values) -> Values:
    """Return (network, 90) of (network, a, b)."""
    return values[:, PAIRS]


def over_pairs(values: Values) -> Values:
    """Return each network's mean over the 90 pairs."""
    return np.asarray(of_pairs(values).mean(axis=1))
