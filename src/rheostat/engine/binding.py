"""What is bound before anything is registered: the sites and values of edits, and whether they fit their tokens."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rheostat.base.errors import EditNotUsable, SiteNotOffered
from rheostat.capture.activations import Activations
from rheostat.edit.edit import Edit
from rheostat.edit.knockout import CutAttention
from rheostat.edit.source import FromPrompt
from rheostat.models.network import Network
from rheostat.models.tokens import Row
from rheostat.sites.positions import Positions
from rheostat.sites.site import Site, resolve

ReadPrompt = Callable[[FromPrompt, tuple[Site, ...]], Activations]
"""Captures the activations that edits take from another prompt."""


def edited_sites(network: Network, edit: Edit) -> tuple[Site, ...]:
    """Return the sites that an edit changes.

    Raises:
        SiteNotOffered: attention weights are among them, and the edit cuts none.
        EditNotUsable: it cuts attention elsewhere than at a pattern, or under an attention that takes no mask.
    """
    sites = resolve(network, edit.site)
    for site in sites:
        if isinstance(edit, CutAttention):
            _check_cut(network, edit, site)
        elif site.kind == "pattern":
            raise SiteNotOffered(
                f"{site} can be read, and cut with CutAttention; other edits do not reach the weights."
            )
    return sites


def _check_cut(network: Network, edit: CutAttention, site: Site) -> None:
    if site.kind != "pattern":
        raise EditNotUsable(f"{edit}: attention is cut at a pattern, such as blocks.{site.block or 0}.pattern.")
    used = network.attention
    if used not in (None, "sdpa", "eager"):
        raise EditNotUsable(f"{edit}: {used} takes no mask of edges. Load with attention='sdpa' or 'eager'.")


class Values:
    """The values of all edits of a program; each other prompt is run once, however many edits read it."""

    def __init__(self, network: Network, placed: Sequence[tuple[Edit, Site, object]], read_prompt: ReadPrompt) -> None:
        self._network = network
        self._device, self._dtype = network.device, network.dtype
        wanted: dict[tuple[str, Positions], tuple[FromPrompt, dict[Site, None]]] = {}
        for edit, site, _ in placed:
            if isinstance(source := edit.source, FromPrompt):
                key = (source.prompt, Positions.parse(source.positions))
                wanted.setdefault(key, (source, {}))[1][self._source_site(source, site)] = None
        self._read = {key: read_prompt(source, tuple(sites)) for key, (source, sites) in wanted.items()}

    def of(self, edit: Edit, site: Site) -> Tensor | None:
        """Return an edit's value as (row or 1, pos or 1, …site), on the model's device, in its dtype."""
        source = edit.source
        if source is None:
            return None
        if isinstance(source, FromPrompt):
            key = (source.prompt, Positions.parse(source.positions))
            value = self._read[key][str(self._source_site(source, site))]
        else:
            value = source[str(site)] if isinstance(source, Activations) else source
        value = _finite(edit, value, self._dtype, forbids=site.kind == "logits").to(self._device)
        if self._network.anatomy is None:
            return value.unsqueeze(1) if isinstance(source, Activations) else value[None, None]
        if site.kind == "module":
            return value[None, None] if isinstance(source, Tensor) else value
        shape = self._network.body.shape(site.kind)
        if edit.units is not None and value.shape[-len(shape) :] != shape:
            shape = (len(edit.units), *shape[1:])
        return _with_row_and_pos(edit, value, shape)

    def _source_site(self, source: FromPrompt, site: Site) -> Site:
        if source.kind is None:
            return site
        if site.block is None:
            raise EditNotUsable(f"{site} lies in no block, so there is no {source.kind} beside it. Leave kind out.")
        return resolve(self._network, f"blocks.{site.block}.{source.kind}")[0]


def _finite(edit: Edit, value: Tensor, dtype: torch.dtype, *, forbids: bool) -> Tensor:
    """Return a value in the model's precision, all of whose numbers are real and finite there.

    Where it forbids tokens (`forbids`), minus infinity is meant.
    """
    if value.is_complex():
        raise EditNotUsable(f"{edit}: its value is complex. Give real numbers, such as value.real.")
    narrow = value.to(dtype)
    if (torch.isfinite(narrow) | (torch.isneginf(narrow) & forbids)).all():
        return narrow
    if torch.isnan(narrow).any():
        raise EditNotUsable(
            f"{edit}: its value holds NaN (rows of different length?). Give one row, or equally many positions."
        )
    if edit.strength == 0:  # the identity, whatever the value
        return narrow
    raise EditNotUsable(f"{edit}: its value holds a number that is infinite in {dtype}. Give finite ones.")


def _with_row_and_pos(edit: Edit, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    extra = value.dim() - len(shape)
    if extra not in (0, 1, 2) or tuple(value.shape[extra:]) != shape:
        raise EditNotUsable(
            f"{edit}: its value has shape {tuple(value.shape)}; one token of this site has {shape}, so give {shape}, "
            f"(pos, {', '.join(map(str, shape))}) or (batch, pos, {', '.join(map(str, shape))})."
        )
    return value.reshape(*(1,) * (2 - extra), *value.shape)


def check_count(edit: Edit, site: Site, row: Row, value: Tensor | None, *, generating: bool = False) -> None:
    """Refuse positions that the row does not have, and a value per position that does not fit the tokens edited."""
    chosen = edit.where.in_prompt(row)
    if isinstance(edit, CutAttention):
        edit.hidden.in_prompt(row)
    if value is None or value.shape[1] == 1:
        return
    if edit.where.kind == "generated" or (generating and edit.where.reaches_generated):
        raise EditNotUsable(f"{edit}: a value per position cannot serve generated tokens; positions='prompt'?")
    if len(set(chosen)) < len(chosen):
        raise EditNotUsable(f"{edit}: a token is named twice, and its value would not be one.")
    if len(chosen) != value.shape[1]:
        raise EditNotUsable(
            f"{edit}: its value at {site} has {value.shape[1]} positions, but {len(chosen)} tokens are edited."
        )


def check_units(edit: Edit, site: Site, shape: tuple[int, ...] | None) -> None:
    """Refuse units that the site does not have, and what has not its shape."""
    if shape is not None:
        edit.check_shape(str(site), shape)
    if edit.units is None:
        return
    if shape is None:
        raise EditNotUsable(f"{edit}: units are offered at named sites, not at module paths.")
    if not all(0 <= unit < shape[0] for unit in edit.units):
        raise EditNotUsable(
            f"{edit}: units go from 0 to {shape[0] - 1} at {site}; given {min(edit.units)} to {max(edit.units)}."
        )


def as_grid(tensor: Tensor, site: Site, columns: torch.Size, network: Network) -> Tensor:
    """View a site's tensor as (row, column, …site): some families flatten rows and columns, heads are not split."""
    batch, n_columns = columns
    if network.anatomy is None:
        return tensor.unsqueeze(1)
    if site.kind == "module":
        return token_grid(tensor, site, columns)
    shape = network.body.shape(site.kind)
    if site.kind == "logits":
        return tensor
    return tensor.view(batch, n_columns, *shape)


def token_grid(tensor: Tensor, site: Site, columns: torch.Size) -> Tensor:
    """View what a module returns or reads as (row, column, …): some see rows and columns flattened.

    Raises:
        SiteNotOffered: it holds not one part per token, or two of its axes are as long as the row, as where heads come
            before tokens and are as many.
    """
    flat = tensor.dim() > 0 and tensor.shape[0] == columns.numel()
    fits = tensor.shape[:2] == columns and not (flat and tensor.dim() == 2)
    if fits and tensor.dim() > 3 and columns[1] > 1 and tensor.shape[2] == columns[1]:
        raise SiteNotOffered(
            f"{site} holds {tuple(tensor.shape)} for {tuple(columns)} tokens: which axis counts the tokens cannot be "
            "told. Give a prompt of another length, or name a site such as blocks.0.heads."
        )
    if fits:
        return tensor
    if not flat:
        raise SiteNotOffered(f"{site} holds {tuple(tensor.shape)} for {tuple(columns)} tokens: not one each.")
    return tensor.reshape(*columns, *tensor.shape[1:])


def gather(value: Tensor | None, rows: Tensor, ordinals: Tensor) -> Tensor | None:
    """Pick each chosen token's value."""
    if value is None:
        return None
    row = rows if value.shape[0] > 1 else torch.zeros_like(rows)
    pos = ordinals if value.shape[1] > 1 else torch.zeros_like(ordinals)
    return value[row, pos]


def change(edit: Edit, site: Site, old: Tensor, value: Tensor | None, tokens: Sequence[int]) -> Tensor:
    """Return the new activations of the chosen tokens; only the edit's units differ.

    The value follows them to their device: blocks may lie on several.

    Args:
        edit: what to do.
        site: the one site that it is done at.
        old: (token, …site)
        value: (token, …site), or (1, …site) for all.
        tokens: (token,) their indices in their own rows; only read where the edit depends on them.
    """
    if edit.depends_on_tokens:
        value = edit.at_tokens(value, str(site), tokens, tuple(old.shape[1:]))
    value = value if value is None else value.to(old.device)
    if edit.units is None:
        return edit.change(old, value)
    units = torch.tensor(edit.units, device=old.device)
    axis = 1
    part = old.index_select(axis, units)
    if value is not None and value.shape[axis] == old.shape[axis]:
        value = value.index_select(axis, units)
    return old.index_copy(axis, units, edit.change(part, value))


def change_faded(
    edit: Edit, site: Site, old: Tensor, value: Tensor | None, tokens: Sequence[int], written: Tensor
) -> Tensor:
    """Return the new activations of the chosen tokens where strength decays; arguments as in `change`.

    Args:
        edit: with a decay.
        site: the one site that it is done at.
        old: (token, …site)
        value: (token, …site), or (1, …site) for all.
        tokens: (token,) their indices in their own rows.
        written: (token,) how many tokens the model wrote before each.
    """
    new, written = old.clone(), written.to(old.device)
    for n_written in written.unique().tolist():
        faded, chosen = edit.faded(n_written), written == n_written
        if faded.strength != 0:  # it has not faded to nothing
            own = value if value is None or len(value) == 1 else value.to(old.device)[chosen]
            there = [tokens[place] for place in chosen.nonzero()[:, 0].tolist()] if tokens else tokens
            new[chosen] = change(faded, site, old[chosen], own, there)
    return new
