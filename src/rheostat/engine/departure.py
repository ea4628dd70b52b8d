"""Where each cell leaves the shared run: the first site and the first token at which its edits change anything."""

from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from rheostat.engine.binding import change
from rheostat.engine.cells import BoundCell, BoundEdit, depth
from rheostat.engine.prefix import CleanRun
from rheostat.models.network import Network
from rheostat.sites.site import Site


@dataclass(frozen=True)
class Departure:
    """A cell's first change of the shared run. Before `border` and before `token` the two are the same, bit for bit."""

    cell: int
    border: int
    """Its row joins the pass before this block; the number of blocks: before the final norm."""
    token: int
    """The first token that any of its edits changes."""
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
    for place, group in groupby(cell.edits, key=lambda bound: depth(network, bound.site)):
        edits = list(group)
        changed = _changed(edits, clean)
        if first is not None:
            later += edits
        elif changed:
            first = (edits[0].site, changed)
            border = place[0]
        token = min([token, *changed])
    if first is None or token > max(clean.asked):
        return None
    site, changed = first
    return Departure(cell.index, border, token, site, tuple(changed), torch.stack(list(changed.values())), tuple(later))


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
