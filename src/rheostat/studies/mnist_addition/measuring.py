"""Training networks and measuring them: every layer and pair at coefficient 1, and grades of three kinds of vector."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from typing import Any

import pandas as pd
import torch

from rheostat.data.mnist import WHEEL, Mnist
from rheostat.model import Model
from rheostat.studies.mnist_addition.digits import Digits, digits
from rheostat.studies.mnist_addition.geometry import describe
from rheostat.studies.mnist_addition.layers import GRADED_LAYERS
from rheostat.studies.mnist_addition.network import (
    BATCH,
    LEARNING_RATE,
    OF_THE_POST,
    TARGET,
    Architecture,
    accuracy,
    log_loss,
    train,
)
from rheostat.studies.mnist_addition.responses import Responses, respond
from rheostat.studies.mnist_addition.vectors import KINDS, Kind, differences, random_like, states
from rheostat.studies.study import Context


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    networks: int
    images: int
    """Of the test images, for the tables of the post's architecture."""
    graded: int
    """Test images of each digit, for grades of coefficient and kind."""
    coefficients: tuple[float, ...]
    epochs: int
    """At most so many passes over the training images."""


FULL = Extent(networks=5, images=10_000, graded=20, coefficients=(0.15, 0.3, 0.45, 0.6, 0.8, 1.0, 1.5), epochs=12)
QUICK = Extent(networks=2, images=500, graded=10, coefficients=(0.25, 0.5, 1.0), epochs=2)

Grade = tuple[Kind, float, int]
"""What is added, its coefficient, and the layer."""


@dataclass(frozen=True)
class Measured:
    """All networks of one architecture."""

    architecture: Architecture
    networks: pd.DataFrame
    """A row per network: {network, weights, loss, accuracy} on the test images."""
    vectors: pd.DataFrame
    """Rows {network, layer, a, b, …}: see `geometry`."""
    tables: tuple[Responses, ...]
    """By layer: single-image vectors at coefficient 1, over the test images; empty but for the post's architecture."""
    graded: Mapping[Grade, Responses]
    """Over a few test images of each digit."""

    @property
    def name(self) -> str:
        """The architecture's name."""
        return self.architecture.name

    @property
    def single(self) -> tuple[Responses, ...]:
        """Single-image vectors at coefficient 1 over the few images, at the layers of `GRADED_LAYERS`."""
        return tuple(self.graded["first image", 1.0, layer] for layer in GRADED_LAYERS)

    @property
    def random(self) -> tuple[Responses, ...]:
        """Random vectors of their length on the same images."""
        return tuple(self.graded["random", 1.0, layer] for layer in GRADED_LAYERS)

    @property
    def coefficients(self) -> tuple[float, ...]:
        """Those that were measured."""
        return tuple(sorted({coefficient for _, coefficient, _ in self.graded}))


def measure(architecture: Architecture, data: Mnist, extent: Extent, context: Context) -> Measured:
    """Train networks of one architecture and measure them; a step holds one table of one network."""
    training, validation, test = (digits(part) for part in (data.train, data.validation, data.test))
    described, geometry, tables, graded = [], [], [], []
    for number in context.progress(range(extent.networks), f"networks, {architecture.name}"):
        one = _Network(architecture, training, validation, test, extent, context, number)
        described.append(one.described().assign(network=number))
        geometry.append(one.geometry().assign(network=number))
        tables += [one.tables()] if architecture == OF_THE_POST else []
        graded.append(one.graded())
    return Measured(
        architecture,
        pd.concat(described, ignore_index=True),
        pd.concat(geometry, ignore_index=True),
        tuple(of_places(tables, ["layer"]).values()),
        of_places(graded, ["kind", "coefficient", "layer"]),
    )


def of_places(tables: Sequence[pd.DataFrame], names: list[str]) -> dict[Any, Responses]:
    """Return the responses of some networks, a table each, by the values of some columns."""
    if not tables:
        return {}
    parts = [dict(iter(table.groupby(names if len(names) > 1 else names[0], sort=False))) for table in tables]
    return {place: Responses.of([one[place] for one in parts]) for place in parts[0]}


@dataclass(frozen=True)
class _Network:
    """One network; it is trained when the first of its tables is not on disk."""

    architecture: Architecture
    training: Digits
    validation: Digits
    test: Digits
    extent: Extent
    context: Context
    number: int

    def described(self) -> pd.DataFrame:
        return self._step("network", lambda: pd.DataFrame([self._describe()]))

    def geometry(self) -> pd.DataFrame:
        return self._step("vectors", lambda: describe(self._model, self.architecture, self._states, self.test))

    def tables(self) -> pd.DataFrame:
        """Return what all layers do, with the column `layer`."""

        def compute() -> pd.DataFrame:
            some = self.test.take(slice(self.extent.images))
            parts = [self._respond("first image", 1.0, layer, some).assign(layer=layer) for layer in range(5)]
            return pd.concat(parts, ignore_index=True)

        return self._step("layers", compute)

    def graded(self) -> pd.DataFrame:
        """Return what each kind of vector does at each coefficient, with the columns `layer`, `kind`, `coefficient`."""

        def compute() -> pd.DataFrame:
            some, parts = self.test.per_digit(self.extent.graded), []
            for layer, kind, coefficient in product(GRADED_LAYERS, KINDS, self.extent.coefficients):
                table = self._respond(kind, coefficient, layer, some)
                parts.append(table.assign(layer=layer, kind=kind, coefficient=coefficient))
            return pd.concat(parts, ignore_index=True)

        return self._step("graded", compute)

    @cached_property
    def _model(self) -> Model:
        epochs = self.extent.epochs
        return train(self.architecture, self.training, self.validation, seed=self._seed, epochs=epochs)

    @cached_property
    def _states(self) -> Mapping[Kind, list[torch.Tensor]]:
        return states(self._model, self.architecture, self.training)

    @property
    def _seed(self) -> int:
        return self.context.seed * 1000 + self.number

    def _describe(self) -> dict[str, object]:
        module = self._model.module
        return {
            **self._model.describe(),
            "name": f"{self.architecture.name}, network {self.number}",
            "loss": log_loss(module, self.test),
            "accuracy": accuracy(module, self.test),
        }

    def _respond(self, kind: Kind, coefficient: float, layer: int, some: Digits) -> pd.DataFrame:
        single = differences(self._states["first image"][layer])
        if kind == "random":
            vectors = random_like(single, seed=(self._seed, layer))
        else:
            vectors = single if kind == "first image" else differences(self._states[kind][layer])
        return respond(self._model, self.architecture.layers[layer], vectors, coefficient, some)

    def _step(self, name: str, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        architecture = self.architecture.name.replace(",", "").replace(" ", "-")
        params = {
            "data": WHEEL.sha256,
            "architecture": self.architecture.name,
            "training": [BATCH, LEARNING_RATE, TARGET, self.extent.epochs],
            "extent": asdict(self.extent),
            "seed": self._seed,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }
        return self.context.step(f"{architecture}-{self.number}-{name}", params, compute)
