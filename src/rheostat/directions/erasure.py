"""Fit the erasure of a concept, LEACE, at many sites in one pass over contrast pairs."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from rheostat.base.errors import DirectionNotUsable
from rheostat.directions.fit import SITES
from rheostat.directions.methods.leace import Leace
from rheostat.directions.methods.method import ClassMeans, Seen
from rheostat.directions.pairs import PairLike, as_pairs
from rheostat.directions.stream import stream
from rheostat.directions.texts import texts_of_pairs
from rheostat.edit.erasure import Erase
from rheostat.models.network import Network
from rheostat.sites.positions import PositionsLike
from rheostat.sites.site import SiteLike, resolve


def fit_erasures(
    network: Network,
    pairs: Iterable[PairLike],
    *,
    sites: "SiteLike | Sequence[SiteLike]" = SITES,
    positions: PositionsLike = "last",
    applied_to: PositionsLike = "all",
    batch_size: int = 32,
) -> dict[str, Erase]:
    """Return, per site, the edit after which no linear classifier tells the fitted texts' classes apart.

    Each is fitted on unedited activations: after an erasure at one block, those of later blocks are others.

    Args:
        network: a language model.
        pairs: contrast pairs in any form that `as_pairs` reads.
        sites: where.
        positions: which tokens of each text to fit on; several are averaged, as in `fit_directions`.
        applied_to: positions that the edits change.
        batch_size: texts per forward pass.

    Raises:
        DirectionNotUsable: both classes have the same mean, a text holds no token, or the network gives NaN.
        SiteNotFound, SiteNotOffered, PositionNotFound, PromptTooLong
    """
    texts, found = texts_of_pairs(network, as_pairs(pairs)), resolve(network, sites)
    means = {str(site): ClassMeans() for site in found}
    fitters = {name: Leace(one) for name, one in means.items()}
    positive = torch.from_numpy(texts.positive)
    shapes: dict[str, tuple[int, ...]] = {}
    for batch in stream(network, texts, np.arange(len(texts.texts)), found, positions=positions, batch_size=batch_size):
        for name, activation in batch.activations.items():
            labels = positive[batch.texts][None].to(activation.device)
            means[name].take(activation, labels)
            fitters[name].take(Seen(activation, labels))
        shapes = batch.shapes
    return {name: _erase(name, one, shapes[name], applied_to) for name, one in fitters.items()}


def _erase(site: str, fitted: Leace, shape: tuple[int, ...], positions: PositionsLike) -> Erase:
    difference, read = fitted.means.difference[0], fitted.vectors()[0]
    if fitted.means.are_equal:
        raise DirectionNotUsable(f"at {site} both classes have the same mean: there is nothing linear to erase.")
    return Erase(
        site,
        (difference / (read @ difference)).float().cpu().reshape(shape),
        read.float().cpu().reshape(shape),
        float(read @ fitted.mean),
        positions=positions,
    )
