"""Where each cell leaves the shared run: the first site and the first token at which its own edits change anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from rheostat.edit.knockout import CutAttention
from rheostat.engine.binding import change
from rheostat.engine.cells import BoundCell, BoundEdit, cut_edges, depth
from rheostat.engine.prefix import CleanRun
from rheostat.engine.schedule import Place
from rheostat.models.network import Network
from rheostat.models.tokens import Row
from rheostat.sites.site import Site


@dataclass(frozen=True)
class Departure:
    """A cell's first change of the shared run; up to its place the two are the same, bit for bit."""

    place: Place
    site: Site
    tokens: tuple[int, ...]
    """Tokens edited at `site`."""
    values: Tensor
    """(token, …site): what they become."""
    later: tuple[BoundEdit, ...]
    """Its edits between the border and `site`, which are the base's, all at deeper sites, and all cuts of attention."""

    @property
    def at_border(self) -> bool:
        """Whether the first change lies in the residual stream itself, so that the row joins changed."""
        return self.site.kind in ("embed", "resid_pre", "resid_post")


def departure(network: Network, cell: BoundCell, clean: CleanRun) -> Departure | None:
    """Return where a cell leaves the shared run; None when all its edits change nothing that was asked for.

    A token that an edit leaves bitwise as it is in the shared run stays so until an earlier token changes: attention
    is causal. So every edit is tried on the shared run's activations, without running the network. Edits of the base
    change nothing there; past the border at which the cell's row begins they are applied again.
    """
    first: tuple[Site, dict[int, Tensor]] | None = None
    token = len(clean.row)
    passed: list[tuple[tuple[int, int], list[BoundEdit]]] = []
    later: list[BoundEdit] = []
    for at, group in groupby(cell.edits, key=lambda bound: depth(network, bound.site)):
        edits = list(group)
        now, changed = _tried(edits, clean)
        token = min([token, *changed])
        if first is not None:
            later += edits
        elif changed:
            first, border = (edits[0].site, now), at[0]
            later += edits if edits[0].site.kind == "pattern" else []
        else:
            passed.append((at, edits))
    if first is None or token > max(clean.asked):
        return None
    again = [bound for at, edits in passed if at > (border, 0) for bound in edits if bound.of_base]
    site, now = first
    place = Place(cell.index, border, token)
    values = torch.stack(list(now.values())) if now else clean.borders[0][:0]
    return Departure(place, site, tuple(now), values, (*again, *later))


def earliest(network: Network, cell: BoundCell, row: Row) -> Place | None:
    """Return the place before which a cell cannot leave the shared run, whatever that holds; None: it never does."""
    acting = [bound for bound in cell.own if bound.edit.strength != 0]
    if not acting:
        return None
    border = min(depth(network, bound.site)[0] for bound in acting)
    once = [bound for bound in cell.each if not bound.of_base and bound.edit.strength != 0]
    tokens = [min(_cut_queries(bound, row) or bound.edit.where.in_prompt(row)) for bound in once]
    return Place(cell.index, border, min(tokens))


def _tried(edits: list[BoundEdit], clean: CleanRun) -> tuple[dict[int, Tensor], list[int]]:
    """Return what edits of one depth make of their tokens in the shared run, and which of those then differ from it.

    Edits of the base are among them, so they begin from what the shared run held before those.
    """
    now: dict[int, Tensor] = {}
    if all(bound.of_base for bound in edits):
        return now, []
    if edits[0].site.kind == "pattern":
        return now, [query for bound in edits if not bound.of_base for query in _cut_queries(bound, clean.row)]
    held, before = clean.at(edits[0].site), clean.entering(edits[0].site)
    for bound in edits:
        if bound.edit.strength == 0:
            continue
        ordinals = bound.ordinals(clean.row)
        old = torch.stack([now.get(token, before[token]) for token in ordinals])
        new = changed_tokens(bound, old, ordinals)
        now.update(zip(ordinals, new.unbind(), strict=True))
    return now, [token for token, new in now.items() if not torch.equal(new, held[token])]


def _cut_queries(bound: BoundEdit, row: Row) -> list[int]:
    """Return the query tokens that lose an edge; none for edits of activations."""
    if not isinstance(bound.edit, CutAttention) or bound.edit.strength == 0:
        return []
    return sorted({query for query, _ in cut_edges(bound.edit, row)})


def changed_tokens(bound: BoundEdit, old: Tensor, ordinals: Mapping[int, int]) -> Tensor:
    """Return what an edit makes of the activations (token, …site) of tokens: token → which of the edit's it is."""
    value = bound.value
    if value is not None:
        value = value[0] if value.shape[1] == 1 else value[0, list(ordinals.values())]
    return change(bound.edit, bound.site, old, value, list(ordinals))
