"""`Receipt`: what the edits of a run did, counted while it ran."""

from dataclasses import dataclass
from math import isnan

import torch
from torch import Tensor

from rheostat.base.errors import EditNotApplied


@dataclass(frozen=True)
class Entry:
    """One edit at one site."""

    edit: str
    site: str
    rows: int
    """Rows in which it fired."""
    tokens: int
    """Token activations changed, summed over rows and passes; without a cache each pass computes all tokens again."""
    change: float
    """Mean L2 norm of the change per token, in units of the activation."""
    relative_change: float
    """Mean of ‖Δ‖ / ‖h‖ over the tokens whose activation h before the edit was not zero; NaN where all were."""
    edges: int = 0
    """Pairs of query and key token that a cut took from attention (in all blocks' heads that it names, counted once);
    `tokens` are then the query tokens, and both changes are NaN."""


@dataclass(frozen=True)
class Receipt:
    """Which edits fired, on how many rows and tokens, and how large each change was."""

    entries: tuple[Entry, ...] = ()

    @property
    def sites(self) -> int:
        """Number of different sites edited."""
        return len({entry.site for entry in self.entries})

    @property
    def rows(self) -> int:
        """Largest number of rows that one entry reached."""
        return max((entry.rows for entry in self.entries), default=0)

    @property
    def tokens(self) -> int:
        """Token activations changed, over all entries."""
        return sum(entry.tokens for entry in self.entries)

    def to_dict(self) -> dict[str, object]:
        """Return JSON-able values."""
        return {
            "sites": self.sites,
            "rows": self.rows,
            "tokens": self.tokens,
            "entries": [
                {
                    name: None if isinstance(value, float) and isnan(value) else value
                    for name, value in vars(one).items()
                }
                for one in self.entries
            ],
        }

    def __str__(self) -> str:
        if not self.entries:
            return "no edits"
        head = f"{_count(self.sites, 'site')}, {_count(self.rows, 'row')}, {_count(self.tokens, 'token')}"
        lines = [
            f"  {one.edit}: {_count(one.rows, 'row')}, {_count(one.tokens, 'token')}, "
            + (
                f"{_count(one.edges, 'edge')} cut"
                if one.edges
                else f"‖Δ‖ = {one.change:.4g}, ‖Δ‖/‖h‖ = {one.relative_change:.4g}"
            )
            for one in self.entries
        ]
        return "\n".join([head, *lines])


class Tally:
    """The running count of one edit at one site; stays on the device, so that counting costs no synchronisation."""

    def __init__(self, edit: str, site: str) -> None:
        self.edit = edit
        self.site = site
        self._rows: list[Tensor] = []
        self._tokens = 0
        self._edges = 0
        self._cuts = False
        self._sizes: list[tuple[Tensor, Tensor]] = []
        """(token,) lengths of activations and of their changes, pass by pass."""
        self._sums = [0.0, 0.0, 0.0]
        """Of tokens that came as sums: of the lengths of changes, of relative ones, and activations that were zero."""

    def add(self, rows: Tensor, before: Tensor, after: Tensor) -> None:
        """Count tokens (token, …site) that were changed in the given rows."""
        n = before.shape[0]
        self._rows.append(rows)
        self._tokens += n
        if before is after:
            return
        old, change = before.detach().reshape(n, -1), (after.detach() - before.detach()).reshape(n, -1)
        self._sizes.append((torch.linalg.vector_norm(old, dim=-1), torch.linalg.vector_norm(change, dim=-1)))

    def add_sums(self, row: int, tokens: int, change: float, relative: float, zeros: float) -> None:
        """Count tokens of one row whose lengths were summed elsewhere.

        Args:
            row: the prompt.
            tokens: how many were changed.
            change: sum of the lengths of the changes.
            relative: sum of those relative to the activation, where that was not zero.
            zeros: activations that were.
        """
        if tokens == 0:
            return
        self._rows.append(torch.tensor([row]))
        self._tokens += tokens
        self._sums = [a + b for a, b in zip(self._sums, (change, relative, zeros), strict=True)]

    def add_edges(self, rows: Tensor, edges: Tensor) -> None:
        """Count edges (row, query, key) that were cut; `rows` says which prompt each row belongs to."""
        queries = edges.any(-1)
        self._rows.append(rows[queries.any(-1)])
        self._tokens += int(queries.sum())
        self._edges += int(edges.sum())
        self._cuts = True

    @property
    def fired(self) -> bool:
        """Whether any token was reached."""
        return self._tokens > 0

    def entry(self) -> Entry:
        """Close the count."""
        rows = len(torch.cat([one.cpu() for one in self._rows]).unique()) if self._rows else 0
        change, relative = self._means()
        return Entry(self.edit, self.site, rows, self._tokens, change, relative, self._edges)

    def _means(self) -> tuple[float, float]:
        """Return the mean length of the changes, and the mean of those relative to activations that are not zero."""
        if self._cuts:
            return float("nan"), float("nan")
        change, relative, zeros = self._sums
        if self._sizes:
            old, size = (torch.cat(one).cpu().double() for one in zip(*self._sizes, strict=True))
            change, zeros = change + float(size.sum()), zeros + int((old == 0).sum())
            relative += float((size / old).nan_to_num(0, posinf=0).sum())
        counted = self._tokens - zeros
        return change / max(1, self._tokens), relative / counted if counted else float("nan")


def close(tallies: list[Tally]) -> Receipt:
    """Make the receipt of a finished run.

    Raises:
        EditNotApplied: an edit reached no token.
    """
    for tally in tallies:
        if not tally.fired:
            raise EditNotApplied(f"no forward pass reached {tally.edit}; the edit changed nothing.")
    return Receipt(tuple(tally.entry() for tally in tallies))


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")
