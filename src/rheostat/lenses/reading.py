"""`read`: what a lens says at every block and point of prompts, in one matrix product per chunk."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rheostat.base.errors import BadArgument, SiteNotOffered
from rheostat.base.names import did_you_mean
from rheostat.base.shapes import Grid
from rheostat.edit.plan import PlanLike
from rheostat.engine.batch import as_prompts
from rheostat.engine.forward import run
from rheostat.lenses.lens import Lens, log_softmax
from rheostat.models.tokens import Prompt
from rheostat.sites.positions import PositionsLike

POINTS = ("attn_out", "resid_mid", "mlp_out", "resid_post")
"""The four decode points of a block, in the order in which it computes them."""

CHUNK_BYTES = 64_000_000
"""Logits held at a time: large enough for a full matrix product, small enough to stay near the cache."""
GROUP = 64
"""Columns per group in the search for the likeliest tokens."""


@dataclass(frozen=True)
class Reading:
    """What a lens read in one prompt."""

    prompt: str
    model: str
    table: pd.DataFrame
    """Rows {block, point, position, token, probability, rank, token_id, shown}: the likeliest tokens, top first."""
    summary: pd.DataFrame
    """Rows {block, point, position, entropy, kl, top_token, top_probability}; in nats, KL(point ‖ output)."""
    tracked: pd.DataFrame
    """Rows {block, point, position, token, probability, rank, token_id, shown}: the chosen tokens, at any rank."""
    final: pd.DataFrame
    """Rows {position, token, probability, rank, token_id, shown}: the model's own output."""
    row_tokens: tuple[str, ...]
    """The prompt's tokens, as shown."""

    def grid(self, *, position: int | None = None, track: str | None = None) -> Grid:
        """Return blocks × points at one position (default: the last read), coloured by probability.

        Args:
            position: in the row's own tokens.
            track: show this tracked token's probability and rank instead of the top token.
        """
        source = self.table[self.table["rank"] == 1] if track is None else self.tracked[self.tracked["token"] == track]
        if track is not None and source.empty:
            raise BadArgument(f"{track!r} was not tracked. Give track=[{track!r}] to the lens.")
        read_at = sorted(set(source["position"]))
        position = read_at[-1] if position is None else position
        if position not in read_at:
            raise BadArgument(f"position {position} was not read. Read: {', '.join(map(str, read_at))}.")
        cells = source[source["position"] == position].sort_values("block", ascending=False, kind="stable")
        what = f"probability of {track!r}" if track else "probability of the top token"
        text = cells["shown"] if track is None else "rank " + cells["rank"].astype(str)
        table = pd.DataFrame({"x": cells["point"], "y": cells["block"], "value": cells["probability"], "text": text})
        return Grid(
            name="lens" if track is None else "lens-tracked",
            title=f"What {self.model} reads after {self.row_tokens[position]} in “{self.prompt}”",
            x_label="decode point",
            y_label="block",
            value_label=what,
            limits=(0.0, 1.0),
            table=table.reset_index(drop=True),
            note=f"Logit lens at token {position} of {len(self.row_tokens)}; last block on top; n = 1 prompt. "
            f"The model's own output: {self._says(position)}.",
        )

    def rows(self) -> list[dict[Hashable, Any]]:
        """Return the likeliest tokens as JSON-able rows {block, point, position, token, probability, rank}."""
        columns = ["block", "point", "position", "token", "probability", "rank"]
        return self.table[columns].to_dict("records")

    def _says(self, position: int) -> str:
        top = self.final[(self.final["position"] == position) & (self.final["rank"] == 1)].iloc[0]
        return f"{top['shown']} {top['probability']:.3f}"

    def __str__(self) -> str:
        """Return the top token and its probability per block and point, at the last position read."""
        position = int(self.table["position"].max())
        top = self.table[(self.table["rank"] == 1) & (self.table["position"] == position)]
        cells = top.assign(cell=[f"{shown} {p:.2f}" for shown, p in zip(top["shown"], top["probability"], strict=True)])
        wide = cells.pivot(index="block", columns="point", values="cell")
        wide = wide[[point for point in POINTS if point in wide.columns]].sort_index(ascending=False)
        wide.columns.name = None
        head = f"{self.model}: “{self.prompt}”, token {position} ({self.row_tokens[position]})"
        return f"{head}\n{wide.to_string()}\nmodel's own output: {self._says(position)}"


def read(
    lens: Lens,
    prompt: Prompt,
    *,
    positions: PositionsLike = "last",
    points: Sequence[str] = POINTS,
    k: int = 10,
    track: Sequence[str] = (),
    edits: PlanLike = None,
) -> Reading:
    """Decode one prompt at every block, at the given points and positions.

    Args:
        lens: what decodes.
        prompt: a text or token ids.
        positions: which tokens' activations to decode.
        points: kinds of site of the size of the residual stream; those that the family lacks are left out of the
            default four, and refused when asked for by name.
        k: how many of the likeliest tokens to keep.
        track: tokens whose probability and rank to keep everywhere, such as `" Berlin"`.
        edits: a plan to apply meanwhile.

    Raises:
        NotOneToken: a tracked text is not one token.
        SiteNotOffered: the family lacks a point.
    """
    network = lens.network
    if not 1 <= k <= network.d_vocab:
        raise BadArgument(f"k={k}: from 1 to {network.d_vocab}, the size of the vocabulary.")
    chosen = _points(lens, points)
    tracked = list(dict.fromkeys(network.token_id(text) for text in track))
    given = as_prompts(prompt)
    if len(given) != 1:
        raise BadArgument(f"the lens reads one prompt at a time; {len(given)} were given.")
    row = network.row(given[0])
    sites = [f"blocks.*.{point}" for point in chosen]
    output = run(network, given, edits=edits, capture=sites, capture_at=positions, logits_at=positions)
    assert output.activations is not None
    where = output.positions[0]
    names = [f"blocks.{block}.{point}" for block in range(network.n_blocks) for point in chosen]
    vectors = torch.stack([output.activations[name][0] for name in names])
    with torch.no_grad():
        own = log_softmax(output.logits[0])
        decoded = _decode(lens, vectors, own, k, tracked)
    keys = [(block, point, position) for block in range(network.n_blocks) for point in chosen for position in where]
    labels = pd.DataFrame(keys, columns=["block", "point", "position"])
    shown = _Shown(lens)
    summary = labels.assign(
        entropy=decoded.entropy.numpy(),
        kl=decoded.kl.numpy(),
        top_token=[shown.text(token) for token in decoded.top_ids[:, 0].tolist()],
        top_probability=decoded.top[:, 0].numpy(),
    )
    own_top = own.exp().topk(k)
    return Reading(
        prompt=row.text if row.text is not None else str(list(row.ids)),
        model=network.name,
        table=_long(labels, decoded.top_ids, decoded.top, None, shown),
        summary=summary,
        tracked=_long(labels, torch.tensor(tracked).expand(len(labels), -1), decoded.tracked, decoded.ranks, shown),
        final=_long(pd.DataFrame({"position": where}), own_top.indices, own_top.values, None, shown),
        row_tokens=tuple(shown.form(token) for token in row.ids),
    )


@dataclass(frozen=True)
class _Decoded:
    top_ids: Tensor
    top: Tensor
    entropy: Tensor
    kl: Tensor
    tracked: Tensor
    ranks: Tensor


def _decode(lens: Lens, vectors: Tensor, own: Tensor, k: int, tracked: list[int]) -> _Decoded:
    """Decode (site, position, d_model) vectors by chunks; `own` (position, d_vocab): the output's log-softmax."""
    size = max(1, CHUNK_BYTES // (lens.network.d_vocab * vectors.element_size()))
    parts = []
    for sites, positions in _chunks(vectors.shape[0], vectors.shape[1], size):
        chunk = vectors[sites, positions]
        logs = lens.log_probabilities(chunk.flatten(0, 1))
        probabilities = logs.exp()
        top, top_ids = top_of_rows(logs, k)
        by_position = probabilities.unflatten(0, chunk.shape[:2])
        cross = -torch.stack([by_position[:, index] @ row for index, row in enumerate(own[positions])], 1).flatten()
        entropy = -torch.einsum("nv,nv->n", probabilities, logs)
        chosen = logs[:, tracked]
        ranks = torch.stack([(logs > column[:, None]).sum(-1) + 1 for column in chosen.T], -1) if tracked else chosen
        parts.append((top_ids, top.exp(), entropy, cross - entropy, chosen.exp(), ranks.long()))
    return _Decoded(*(torch.cat(column).cpu() for column in zip(*parts, strict=True)))


def _chunks(n_sites: int, n_positions: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Divide sites × positions into chunks of at most `size`: whole sites, or parts of one."""
    height, width = max(1, size // n_positions), min(n_positions, size)
    for site in range(0, n_sites, height):
        for position in range(0, n_positions, width):
            yield slice(site, site + height), slice(position, position + width)


def top_of_rows(values: Float[Tensor, "row column"], k: int) -> tuple[Float[Tensor, "row {k}"], Int[Tensor, "row {k}"]]:
    """Return the `k` largest values of each row, (n, k), largest first, and their columns.

    The k largest lie in the k groups of columns with the largest maxima, so only these are sorted: several times faster
    than `topk` over a vocabulary.
    """
    n_columns = values.shape[1]
    whole = n_columns - n_columns % GROUP
    if k * GROUP >= whole:
        top, columns = values.topk(k)
        return top, columns
    groups = values[:, :whole].unflatten(1, (-1, GROUP))
    chosen = groups.amax(-1).topk(k).indices
    candidates = groups.gather(1, chosen[..., None].expand(-1, -1, GROUP)).flatten(1)
    columns = (chosen[..., None] * GROUP + torch.arange(GROUP, device=values.device)).flatten(1)
    rest = torch.arange(whole, n_columns, device=values.device).expand(len(values), -1)
    top, places = torch.cat([candidates, values[:, whole:]], 1).topk(k)
    return top, torch.cat([columns, rest], 1).gather(1, places)


class _Shown:
    """Token texts, each computed once."""

    def __init__(self, lens: Lens) -> None:
        self._network = lens.network
        self._texts: dict[int, str] = {}
        self._forms: dict[int, str] = {}

    def text(self, token: int) -> str:
        """The token as it stands in running text."""
        if token not in self._texts:
            self._texts[token] = self._network.tokens.text(token) if self._network.tokenizer is not None else str(token)
        return self._texts[token]

    def form(self, token: int) -> str:
        """The token in the form that cannot be misread."""
        if token not in self._forms:
            self._forms[token] = self._network.tokens.show(token) if self._network.tokenizer is not None else str(token)
        return self._forms[token]


def _long(labels: pd.DataFrame, ids: Tensor, values: Tensor, ranks: Tensor | None, shown: _Shown) -> pd.DataFrame:
    """Repeat each label row once per token."""
    n = ids.shape[-1]
    repeated = labels.loc[labels.index.repeat(n)].reset_index(drop=True)
    flat = ids.flatten().tolist()
    counted = list(range(1, n + 1)) * len(labels) if ranks is None else ranks.flatten().tolist()
    return repeated.assign(
        token=[shown.text(token) for token in flat],
        probability=values.flatten().float().cpu().numpy(),
        rank=counted,
        token_id=flat,
        shown=[shown.form(token) for token in flat],
    )


def _points(lens: Lens, points: Sequence[str]) -> tuple[str, ...]:
    body = lens.network.body
    if not points:
        raise BadArgument(f"no decode point is asked for. The usual ones: {', '.join(POINTS)}.")
    readable = ("resid_pre", "attn_in", "attn_out", "resid_mid", "mlp_in", "mlp_out", "resid_post")
    for point in points:
        if point not in readable:
            raise BadArgument(
                f"no decode point {point!r}.{did_you_mean(point, readable)} One of: {', '.join(readable)}."
            )
    offered = tuple(point for point in points if point in body.taps)
    if tuple(points) != POINTS and offered != tuple(points):
        missing = next(point for point in points if point not in body.taps)
        raise SiteNotOffered(f"{lens.network.name} has no {missing}: {body.refusals.get(missing, 'not offered')}.")
    return offered
