"""Fit directions at many sites in one pass over the texts, and measure them on texts that were held out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument, DirectionNotUsable
from rheostat.directions.direction import Calibration, Direction
from rheostat.directions.directions import Directions
from rheostat.directions.evaluation import Projections, calibration, evaluate
from rheostat.directions.methods.method import ClassMeans, Method, Seen
from rheostat.directions.methods.registry import find_method
from rheostat.directions.pairs import PairLike, as_pairs
from rheostat.directions.stream import stream
from rheostat.directions.texts import (
    Division,
    LabelledTexts,
    divide,
    drawn_order,
    shuffled_labels,
    texts_of_classes,
    texts_of_pairs,
)
from rheostat.models.network import Network
from rheostat.sites.positions import PositionsLike
from rheostat.sites.site import Site, SiteLike, resolve
from rheostat.sweeps.grids import random_direction

SITES = "blocks.*.resid_post"
N_RANDOM = 20
"""Random directions per site, as a control."""


@dataclass(frozen=True)
class Settings:
    """How to fit; see `fit_directions`."""

    concept: str
    method: str
    positions: PositionsLike
    held_out: int | float
    seed: int
    shuffles: int
    batch_size: int


def fit_directions(
    network: Network,
    pairs: Iterable[PairLike],
    *,
    concept: str = "concept",
    method: str = "mean_difference",
    sites: "SiteLike | Sequence[SiteLike]" = SITES,
    positions: PositionsLike = "last",
    held_out: int | float = 0.25,
    seed: int = 0,
    shuffles: int = 10,
    batch_size: int = 32,
) -> Directions:
    """Fit one direction per site from contrast pairs; every text passes through the network once.

    The pairs are divided by group: `held_out` of the groups is not fitted on. By one half of them the best site is
    chosen, on the other half the figures of `Directions.table` are measured, so that `Directions.best` comes with
    figures from pairs that had no part in the choice.

    Args:
        network: a language model.
        pairs: contrast pairs in any form that `as_pairs` reads; pairs with the same group stay together.
        concept: what the positive texts have more of.
        method: one of `rheostat.directions.methods.registry.METHODS`.
        sites: where.
        positions: which tokens of each text to read; several are averaged. `all` is every token but the first, whose
            activation is far larger than any other in many models; `slice(None)` names it too.
        held_out: share of groups that nothing is fitted on; 0: fit on all, without figures.
        seed: of the division, the shuffles and the random directions.
        shuffles: how many times to fit with shuffled labels, as a control.
        batch_size: texts per forward pass.

    Returns:
        Directions as long as the distance between the class means of the fitted texts along them, calibrated by these
        means and the spread of the held-out texts: adding a direction at strength 1 moves its score by 2. Only
        `token_embedding` is longer, so that it moves its score further; where the means lie the other way round along
        it, it has no calibration and gives no scores.

    Raises:
        BadArgument: no such method, or a setting is outside its range.
        DirectionNotUsable: a text holds no token, there are too few groups, both classes have the same mean, or the
            network gives NaN.
        SiteNotFound, SiteNotOffered, PositionNotFound, PromptTooLong
    """
    settings = Settings(concept, method, positions, held_out, seed, shuffles, batch_size)
    return _fit(network, texts_of_pairs(network, as_pairs(pairs)), resolve(network, sites), settings)


def fit_directions_from_texts(
    network: Network,
    positives: Sequence[str],
    negatives: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    concept: str = "concept",
    method: str = "mean_difference",
    sites: "SiteLike | Sequence[SiteLike]" = SITES,
    positions: PositionsLike = "last",
    held_out: int | float = 0.25,
    seed: int = 0,
    shuffles: int = 10,
    batch_size: int = 32,
) -> Directions:
    """Fit one direction per site from texts of two classes that are no pairs; otherwise as `fit_directions`.

    `accuracy` in the table is the AUROC: the share of (positive, negative) texts of which the positive one reaches
    further.

    Args:
        network: a language model.
        positives: texts with more of the concept.
        negatives: texts with less.
        groups: one per text, those of the positives first; texts of a group stay together.
        concept: as `fit_directions`, like all that follow; methods that need pairs are refused.
        method: …
        sites: …
        positions: …
        held_out: …
        seed: …
        shuffles: …
        batch_size: …

    Raises:
        DirectionNotUsable: a class is empty, or the method needs pairs; and as `fit_directions`.
    """
    settings = Settings(concept, method, positions, held_out, seed, shuffles, batch_size)
    texts = texts_of_classes(network, positives, negatives, groups)
    return _fit(network, texts, resolve(network, sites), settings)


def _fit(network: Network, texts: LabelledTexts, sites: Sequence[Site], settings: Settings) -> Directions:
    method = find_method(settings.method)
    if method.needs_pairs and not texts.paired:
        raise DirectionNotUsable(f"{method.name} needs contrast pairs; these are texts without pairs.")
    if settings.shuffles < 0:
        raise BadArgument(f"shuffles={settings.shuffles}: how many times to shuffle the labels, at least 0.")
    division = divide(texts, held_out=settings.held_out, seed=settings.seed)
    fitted = _fit_sites(network, texts, sites, division, method, settings)
    if not len(division.held_out):
        return Directions({name: one.direction(network, settings) for name, one in fitted.items()})
    projections = _project(network, texts, sites, division, fitted, settings)
    found, rows = {}, []
    for site in sites:
        name, one, reached = str(site), fitted[str(site)], projections[str(site)]
        spread = calibration(texts, division.held_out, reached.found).spread
        found[name] = one.direction(network, settings, spread=spread)
        figures = evaluate(texts, division, reached, midpoint=one.calibration(spread).midpoint, seed=settings.seed)
        block = float("nan") if site.block is None else site.block
        rows.append({"site": name, "block": block, **figures, "length": found[name].length})
    return Directions(found, pd.DataFrame(rows))


@dataclass(frozen=True, eq=False)
class _Fitted:
    """What was fitted at one site."""

    site: str
    shape: tuple[int, ...]
    units: Float[Tensor, "labelling width"]
    length: float
    means: ClassMeans

    def direction(self, network: Network, settings: Settings, *, spread: float = float("nan")) -> Direction:
        known = self.calibration(spread)
        vector = self.units[0] * self.length
        if not float(vector.norm()) > 0 or self.means.are_equal:
            raise DirectionNotUsable(
                f"{settings.concept!r} at {self.site}: both classes have the same mean, so no direction leads from one "
                "to the other. Read other positions, or leave this site out."
            )
        dtype = network.dtype if network.dtype == torch.float64 else torch.float32
        return Direction(
            concept=settings.concept,
            site=self.site,
            vector=vector.to(device="cpu", dtype=dtype).reshape(self.shape),
            method=settings.method,
            model=network.name,
            weights=network.weight_hash,
            calibration=known if known.half_gap > 0 else None,
        )

    def calibration(self, spread: float) -> Calibration:
        """Return where the means of the fitted texts lie; how far texts spread, others must say."""
        positive, negative = (float(mean) for mean in self.means.means[:, 0] @ self.units[0])
        return Calibration(positive, negative, spread)


def _fit_sites(
    network: Network,
    texts: LabelledTexts,
    sites: Sequence[Site],
    division: Division,
    method: type[Method],
    settings: Settings,
) -> dict[str, _Fitted]:
    """Stream the texts to fit on past one fitter per site."""
    labels = shuffled_labels(texts, division.fit, n=settings.shuffles, seed=settings.seed)
    order = drawn_order(texts, division.fit, seed=settings.seed)
    means = {str(site): ClassMeans() for site in sites}
    fitters = {name: method(one) for name, one in means.items()}
    shapes: dict[str, tuple[int, ...]] = {}
    for batch in stream(
        network,
        texts,
        division.fit,
        sites,
        positions=settings.positions,
        batch_size=settings.batch_size,
        embeddings=method.reads_embeddings,
    ):
        positive = torch.from_numpy(labels[:, batch.texts])
        for name, activation in batch.activations.items():
            here = positive.to(activation.device)
            means[name].take(activation, here)
            first = torch.from_numpy(order[batch.texts[::2]]).to(activation) if texts.paired else None
            fitters[name].take(Seen(activation, here, first, batch.embeddings))
        shapes = batch.shapes
    units = {name: fitter.units() for name, fitter in fitters.items()}
    return {
        name: _Fitted(name, shapes[name], units[name], fitter.length(units[name][0]), means[name])
        for name, fitter in fitters.items()
    }


def _project(
    network: Network,
    texts: LabelledTexts,
    sites: Sequence[Site],
    division: Division,
    fitted: dict[str, _Fitted],
    settings: Settings,
) -> dict[str, Projections]:
    """Stream the held-out texts; of each site and text only the projections stay."""
    axes = {name: torch.cat([one.units, _random_units(one, settings.seed)]) for name, one in fitted.items()}
    held = division.held_out
    places = np.full(len(texts.texts), -1)
    places[held] = np.arange(len(held))
    reached = {name: np.full((len(held), len(one)), np.nan) for name, one in axes.items()}
    for batch in stream(
        network,
        texts,
        held,
        sites,
        positions=settings.positions,
        batch_size=settings.batch_size,
    ):
        for name, activation in batch.activations.items():
            reached[name][places[batch.texts]] = (activation @ axes[name].T).cpu().numpy()
    n = 1 + settings.shuffles
    return {name: Projections(one[:, 0], one[:, 1:n], one[:, n:]) for name, one in reached.items()}


def _random_units(one: _Fitted, seed: int) -> Float[Tensor, "draw width"]:
    """Return random directions at a site, each turned towards the positive class of the fitted texts."""
    like = one.units[0] if bool(one.units[0].any()) else torch.ones_like(one.units[0])
    drawn = torch.stack([random_direction(like, site=one.site, seed=seed, draw=draw) for draw in range(N_RANDOM)])
    units = torch.nn.functional.normalize(drawn, dim=-1)
    towards = torch.sign(units @ one.means.difference[0])
    return units * towards[:, None]
