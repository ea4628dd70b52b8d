"""Token-by-token scores of a concept over texts: where a direction at each block sees more, or less, of it.

The LAT scan of Zou et al. 2023, arXiv:2310.01405, §3, with scores that are calibrated per block: +1 at the mean of the
positive class, −1 at the negative one's, so that they compare between blocks and directions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.base.shapes import Grid, TokenStrip
from rheostat.directions.direction import Direction
from rheostat.directions.directions import Directions
from rheostat.engine.batch import as_prompts
from rheostat.engine.stream import capture_batches
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt, Row
from rheostat.sites.positions import PositionsLike
from rheostat.sites.site import resolve_single

Blocks: TypeAlias = "int | Sequence[int] | range | None"
"""One block, several, or None for all that were read."""

MOST_COLOUR = 2.0
"""Scores beyond ±2 (twice the distance of a class mean) keep their number, but not a stronger colour."""


@dataclass(frozen=True)
class ConceptReading:
    """How much of a concept a direction at each block sees in each token."""

    concept: str
    model: str
    texts: tuple[str, ...]
    table: pd.DataFrame
    """Rows {text, site, block, position, token, shown, score}: `text` counts the texts, `position` the row's own
    tokens; `token` is as in running text, `shown` cannot be misread. Scores are +1 at the mean of the positive class
    and −1 at the negative one's. `block` is missing (<NA>) for sites outside blocks."""

    def grid(self, text: int = 0) -> Grid:
        """Return the block × token map of one text, last block on top, coloured by score around 0."""
        rows = self._of_text(text)
        order = {site: -index for index, site in enumerate(rows["site"].drop_duplicates())}
        rows = rows.sort_values("site", key=lambda sites: sites.map(order), kind="stable")
        table = pd.DataFrame(
            {
                "x": rows["position"].astype(str) + " " + rows["shown"],
                "y": rows["block"].astype("string") if self._one_kind else rows["site"],
                "value": rows["score"],
            }
        )
        return Grid(
            name="concept-map",
            title=f"{self.concept} in “{_shortened(self.texts[text])}”, {self.model}",
            x_label="token",
            y_label="block" if self._one_kind else "site",
            value_label=self._unit,
            table=table.reset_index(drop=True),
            centre=0.0,
            limits=(-MOST_COLOUR, MOST_COLOUR),
            note=f"{table['x'].nunique()} tokens; last block on top. Colours end at ±{MOST_COLOUR:g}.",
        )

    def strip(
        self,
        blocks: Blocks = None,
        *,
        text: int | None = None,
        threshold: float | None = None,
        clip: float = MOST_COLOUR,
    ) -> TokenStrip:
        """Return the texts in coloured tokens: the mean score over a band of blocks.

        Args:
            blocks: one block, several, or None for the mean over all sites that were read.
            text: one text by number; None: all.
            threshold: tokens whose score lies above are framed.
            clip: colours end at ± this score; the numbers do not.

        Raises:
            BadArgument: a block or text was not read.
        """
        if not clip > 0:
            raise BadArgument(f"clip={clip}: a positive score.")
        rows = self.mean(blocks)
        if text is not None:
            self._of_text(text)
            rows = rows[rows["text"] == text]
        table = pd.DataFrame({"token": rows["token"], "value": rows["score"]})
        if rows["text"].nunique() > 1:
            table["text"] = "text " + rows["text"].astype(str)
        where = _band(blocks) if blocks is not None else f"mean of {self.table['site'].nunique()} sites"
        return TokenStrip(
            name="concept-tokens",
            title=f"{self.concept} token by token, {self.model}, {where}",
            value_label=self._unit,
            table=table.reset_index(drop=True),
            limits=(-clip, clip),
            threshold=threshold,
            note=f"n = {len(table)} tokens.",
        )

    def mean(self, blocks: Blocks = None) -> pd.DataFrame:
        """Return each token's mean score over a band of blocks: rows {text, position, token, shown, score}.

        Raises:
            BadArgument: a block was not read.
        """
        rows = self.table
        if blocks is not None:
            asked = [blocks] if isinstance(blocks, int) else list(blocks)
            missing = sorted(set(asked) - set(rows["block"].dropna()))
            if missing or not asked:
                read = ", ".join(map(str, sorted(rows["block"].dropna().unique()))) or "none"
                raise BadArgument(f"blocks {missing or '[]'} were not read. Read: {read}.")
            rows = rows[rows["block"].isin(asked)]
        keys = ["text", "position", "token", "shown"]
        return rows.groupby(keys, sort=False)["score"].mean().reset_index()

    @property
    def _unit(self) -> str:
        return f"score of {self.concept} (+1, −1: class means)"

    @property
    def _one_kind(self) -> bool:
        """Whether every site is the same kind in another block, so that the block names it."""
        sites = self.table["site"].drop_duplicates()
        return sites.str.rpartition(".")[2].nunique() == 1 and bool(self.table["block"].notna().all())

    def _of_text(self, text: int) -> pd.DataFrame:
        if not 0 <= text < len(self.texts):
            raise BadArgument(f"text {text}: the reading holds texts 0 to {len(self.texts) - 1}.")
        return self.table[self.table["text"] == text]

    def __repr__(self) -> str:
        sites = self.table["site"].nunique()
        return f"ConceptReading({self.concept!r}, {len(self.texts)} texts × {sites} sites, {self.model})"


def read_concept(
    network: Network,
    directions: Directions | Direction,
    text: "Prompt | Sequence[Prompt]",
    *,
    positions: PositionsLike = "all",
    batch_size: int = 32,
) -> ConceptReading:
    """Score the tokens of one or several texts at every site of `directions`, in one pass per batch.

    Args:
        network: the network that the directions were fitted on.
        directions: one per site, calibrated, such as fitted ones.
        text: one or several texts.
        positions: which tokens to score. In many models the first token's activation is far larger than any other, and
            so may its score be.
        batch_size: texts per pass; memory holds the activations of one batch.

    Raises:
        DirectionNotUsable: a direction belongs to another network, or has no calibration.
        PositionNotFound, EmptyPrompt
    """
    many = as_directions(directions)
    listed = as_prompts(text)
    rows = [network.row(one) for one in listed]
    frames = []
    first = 0
    for scores, held in _batches(network, many, listed, positions, batch_size):
        for index, where in enumerate(held):
            row = rows[first + index]
            each = {site: values[index, : len(where)] for site, values in scores.items()}
            frames.append(_frame(network, first + index, row, where, each))
        first += len(held)
    shown = tuple(row.shown for row in rows)
    return ConceptReading(many.concept, network.name, shown, pd.concat(frames, ignore_index=True))


def pooled_scores(
    network: Network,
    directions: Directions | Direction,
    texts: Sequence[Prompt],
    *,
    positions: PositionsLike = "last",
    batch_size: int = 32,
) -> dict[str, NDArray[np.float64]]:
    """Return, per site, one score per text: the mean over the tokens at `positions`.

    Raises:
        as `read_concept`.
    """
    many = as_directions(directions)
    found: dict[str, list[NDArray[np.float64]]] = {site: [] for site in many}
    for scores, _ in _batches(network, many, as_prompts(texts), positions, batch_size):
        for site, values in scores.items():
            found[site].append(np.nanmean(values, axis=1))
    return {site: np.concatenate(parts) for site, parts in found.items()}


def as_directions(given: Directions | Direction) -> Directions:
    """Return a single direction as directions."""
    return Directions({given.site: given}) if isinstance(given, Direction) else given


def block_of(network: Network, site: str) -> int | None:
    """Return the block in which a site lies; None outside blocks."""
    return resolve_single(network, site).block


def _batches(
    network: Network, directions: Directions, texts: list[Prompt], positions: PositionsLike, batch_size: int
) -> Iterator[tuple[dict[str, NDArray[np.float64]], tuple[tuple[int, ...], ...]]]:
    """Yield, per batch, site → scores (text, pos), NaN behind a text's end; and the positions of each text."""
    for direction in directions.values():
        direction.check(network)
    for held in capture_batches(network, texts, list(directions), positions=positions, batch_size=batch_size):
        yield {site: _scores(direction, held[site]) for site, direction in directions.items()}, held.positions


def _scores(direction: Direction, activation: Tensor) -> NDArray[np.float64]:
    wide = activation.to(torch.promote_types(activation.dtype, torch.float32))
    return np.asarray(direction.scores(wide).double().cpu().numpy())


def _frame(
    network: Network, text: int, row: Row, where: Sequence[int], scores: dict[str, NDArray[np.float64]]
) -> pd.DataFrame:
    ids = [row.ids[position] for position in where]
    has_words = network.tokenizer is not None
    shown = [network.show_token(token) for token in ids]
    words = [network.tokens.text(token) for token in ids] if has_words else [f"{one} " for one in shown]
    part = {"position": list(where), "token": words, "shown": shown}
    frames = [
        pd.DataFrame({"text": text, "site": site, "block": block_of(network, site), **part, "score": values})
        for site, values in scores.items()
    ]
    whole = pd.concat(frames, ignore_index=True)
    return whole.astype({"block": "Int64"})


def _band(blocks: "int | Sequence[int] | range") -> str:
    if isinstance(blocks, int):
        return f"block {blocks}"
    asked = sorted(blocks)
    if asked == list(range(asked[0], asked[-1] + 1)) and len(asked) > 1:
        return f"mean of blocks {asked[0]} to {asked[-1]}"
    return f"blocks {', '.join(map(str, asked))}"


def _shortened(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
