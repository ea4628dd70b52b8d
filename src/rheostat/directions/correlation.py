"""How two concepts go together over texts, block by block, beyond what they share with a third or with length."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rheostat.base.errors import BadArgument
from rheostat.base.shapes import Profile
from rheostat.directions.direction import Direction
from rheostat.directions.directions import Directions
from rheostat.directions.scores import as_directions, block_of, pooled_scores
from rheostat.engine.batch import as_prompts
from rheostat.metrics.statistics import partial_spearman, percentile_interval, spearman
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.sites.positions import PositionsLike

SHUFFLES = 200
DRAWS = 2000


@dataclass(frozen=True)
class Correlation:
    """How the scores of two concepts go together over texts."""

    first: str
    second: str
    given: tuple[str, ...]
    """What `partial` holds fixed."""
    model: str
    table: pd.DataFrame
    """Rows {site, block, spearman, low, high, partial, partial_low, partial_high, shuffled_high, n}: Spearman's rank
    correlation with its 95 % bootstrap interval over texts; `shuffled_high` is the 97.5 % quantile of its size when the
    texts of one concept are permuted."""
    scores: pd.DataFrame
    """Rows {site, text, first, second}: what was correlated."""

    def profile(self) -> Profile:
        """Return both correlations by block, with the band of chance."""
        rows = self.table.dropna(subset=["block"])
        fixed = f"given {', '.join(self.given)}"
        columns = {"rank correlation": ("spearman", "low", "high"), fixed: ("partial", "partial_low", "partial_high")}
        parts = [
            pd.DataFrame(
                {
                    "x": rows["block"].astype(int),
                    "value": rows[value],
                    "series": name,
                    "low": rows[low],
                    "high": rows[high],
                }
            )
            for name, (value, low, high) in columns.items()
        ]
        chance = float(self.table["shuffled_high"].mean())
        return Profile(
            name="correlation",
            title=f"{self.first} and {self.second} over {int(self.table['n'].iloc[0])} texts, {self.model}",
            x_label="block",
            y_label="Spearman's rank correlation",
            table=pd.concat(parts, ignore_index=True),
            note="Bands: 95 % bootstrap intervals over texts.",
            reference={"chance, 97.5 %": chance, "chance, 2.5 %": -chance},
        )


def correlate(
    network: Network,
    first: Directions | Direction,
    second: Directions | Direction,
    texts: Sequence[Prompt],
    *,
    given: Sequence[Directions | Direction] = (),
    positions: PositionsLike = slice(1, None),
    batch_size: int = 32,
    seed: int = 0,
) -> Correlation:
    """Correlate the scores of two concepts over texts at every site that both have.

    Args:
        network: the network that all directions were fitted on.
        first: one concept.
        second: the other.
        texts: what is scored; a text's score is the mean over the tokens at `positions`.
        given: third concepts whose scores are held fixed in the partial correlation; the number of tokens always is.
        positions: the tokens that are read. The first is left out by default: in many models its activation is far
            larger than any other, so that any two directions would go together by how few tokens share the mean with
            it.
        batch_size: texts per pass.
        seed: of the bootstrap and of the permutations.

    Raises:
        BadArgument: the concepts share no site, a third one lacks a site, or there are fewer than four texts.
        DirectionNotUsable: a direction belongs to another network, or has no calibration.
    """
    listed = as_prompts(texts)
    if len(listed) < 4:
        raise BadArgument(f"{len(listed)} texts; a rank correlation with its interval needs at least 4.")
    concepts = [as_directions(one) for one in (first, second, *given)]
    sites = _shared_sites(concepts)
    scored = [
        pooled_scores(
            network,
            Directions({site: one[site] for site in sites}),
            listed,
            positions=positions,
            batch_size=batch_size,
        )
        for one in concepts
    ]
    length = np.array([len(network.row(text)) for text in listed], dtype=np.float64)
    rows, frames = [], []
    for site in sites:
        x, y, *fixed = (scores[site] for scores in scored)
        block = block_of(network, site)
        rows.append({"site": site, "block": block, **_correlated(np.stack([x, y, *fixed, length]), seed)})
        frames.append(pd.DataFrame({"site": site, "text": range(len(listed)), "first": x, "second": y}))
    names = [one.concept for one in concepts]
    table = pd.DataFrame(rows).astype({"block": "Int64"})
    return Correlation(
        names[0], names[1], (*names[2:], "length"), network.name, table, pd.concat(frames, ignore_index=True)
    )


def _shared_sites(concepts: Sequence[Directions]) -> list[str]:
    first, second, *given = concepts
    sites = [site for site in first if site in set(second)]
    if not sites:
        raise BadArgument(f"{first.concept!r} and {second.concept!r} share no site, so nothing can be correlated.")
    for third in given:
        if missing := [site for site in sites if site not in set(third)]:
            raise BadArgument(f"{third.concept!r} has no direction at {missing[0]}, so it cannot be held fixed there.")
    return sites


def _correlated(values: NDArray[np.float64], seed: int) -> dict[str, float]:
    """Correlate row 0 with row 1 of (variable, text), plainly and with the other rows held fixed."""
    n = values.shape[1]
    rng = np.random.default_rng(seed)
    drawn = np.moveaxis(values[:, rng.integers(0, n, size=(DRAWS, n))], 0, 1)
    plain = percentile_interval(float(spearman(values[0], values[1])), spearman(drawn[:, 0], drawn[:, 1]), n=n)
    partial = percentile_interval(
        float(partial_spearman(values[0], values[1], values[2:])),
        partial_spearman(drawn[:, 0], drawn[:, 1], drawn[:, 2:]),
        n=n,
    )
    permuted = np.stack([rng.permutation(values[1]) for _ in range(SHUFFLES)])
    by_chance = np.abs(spearman(np.broadcast_to(values[0], permuted.shape), permuted))
    return {
        "spearman": plain.value,
        "low": plain.low,
        "high": plain.high,
        "partial": partial.value,
        "partial_low": partial.low,
        "partial_high": partial.high,
        "shuffled_high": float(np.quantile(by_chance, 0.975)),
        "n": plain.n,
    }
