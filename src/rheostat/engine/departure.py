"""Where each cell leaves the shared run: the first site and the first token at which its edits change anything."""

from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from rheostat.engine.binding import change
from rheostat.engine.cells import BoundCell, BoundEdit, depth
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
    """Tokens that change at `site`."""
    values: Tensor
    """(token, …site): what they change to."""
    later: tuple[BoundEdit, ...]
    """Its edits at deeper sites."""

    @property
    def at_border(self) -> bool:
        """Whether the first change lies in the residual stream itself, so that the row joins changed."""
        return self.site.kind in ("embed", "resid_pre", "resid_post")


def departure(network: Network, cell: BoundCell, clean: CleanRun) -> Departure | None:
    """Return where a cell leaves the shared run; None when all its edits change nothing that was asked for.

    A token that an edit leaves bitwise as it is in the shared run stays so until an earlier token changes: attention
    is causal. So every edit is tried on the shared run's activations, without running the network.
    """
    first: tuple[Site, dict[int, Tensor]] | None = None
    token = len(clean.row)
    later: list[BoundEdit] = []
    for at, group in groupby(cell.edits, key=lambda bound: depth(network, bound.site)):
        edits = list(group)
        changed = _changed(edits, clean)
        if first is not None:
            later += edits
        elif changed:
            first = (edits[0].site, changed)
            border = at[0]
        token = min([token, *changed])
    if first is None or token > max(clean.asked):
        return None
    site, changed = first
    place = Place(cell.index, border, token)
    return Departure(place, site, tuple(changed), torch.stack(list(changed.values())), tuple(later))


def earliest(network: Network, cell: BoundCell, row: Row) -> Place | None:
    """Return the place before which a cell cannot leave the shared run, whatever that holds; None: it never does."""
    acting = [bound for bound in cell.edits if bound.edit.strength != 0]
    if not acting:
        return None
    border = min(depth(network, bound.site)[0] for bound in acting)
    return Place(cell.index, border, min(min(bound.ordinals(row)) for bound in acting))


def _changed(edits: list[BoundEdit], clean: CleanRun) -> dict[int, Tensor]:
    """Return the tokens that edits of one place change in the shared run, with what they change to."""
    before = clean.at(edits[0].site)
    now: dict[int, Tensor] = {}
    for bound in edits:
        if bound.edit.strength == 0:
            continue
        ordinals = bound.ordinals(clean.row)
        old = torch.stack([now.get(token, before[token]) for token in ordinals])
        new = changed_tokens(bound, old, list(ordinals.values()))
        now.update(zip(ordinals, new.unbind(), strict=True))
    return {token: new for token, new in now.items() if not torch.equal(new, before[token])}


def changed_tokens(bound: BoundEdit, old: Tensor, ordinals: list[int]) -> Tensor:
    """Return what an edit makes of the activations (token, …site) of the tokens with these ordinals."""
    value = bound.value
    if value is not None:
        value = value[0] if value.shape[1] == 1 else value[0, ordinals]
    return change(bound.edit, old, value)
