"""Cells: plans with labels, and what they come to once their sites, units and values are bound to a network."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from rheostat.base.errors import BadArgument, EditNotApplied, EditNotUsable, RheostatError
from rheostat.capture.activations import Activations
from rheostat.edit.edit import Edit
from rheostat.edit.knockout import CutAttention
from rheostat.edit.patching import Replace
from rheostat.edit.plan import Plan, PlanLike, as_plan
from rheostat.engine.binding import Values, check_count, check_units, edited_sites
from rheostat.engine.forward import prompt_reader
from rheostat.models.anatomy import BLOCK_KINDS
from rheostat.models.network import Network
from rheostat.models.tokens import Row
from rheostat.sites.positions import Positions
from rheostat.sites.site import Site

UNEDITED = Plan().fingerprint()


@dataclass(frozen=True)
class Cell:
    """One plan of a sweep, with the labels that its rows of the table carry."""

    edits: PlanLike
    labels: Mapping[str, object] = field(default_factory=dict)
    base: PlanLike = None
    """Edits that come before, in a run that all cells with equal bases share and leave; None: the unedited run."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "edits", as_plan(self.edits))
        object.__setattr__(self, "base", as_plan(self.base))

    @property
    def plan(self) -> Plan:
        """The edits that a run of this cell alone takes: those of the base, then the cell's own."""
        return as_plan(self.base) + as_plan(self.edits)


@dataclass(frozen=True)
class BoundEdit:
    """One edit at one site."""

    edit: Edit
    site: Site
    value: Tensor | None
    """(1, pos or 1, …site)"""
    of_base: bool = False
    """Whether the shared run carries it already."""

    def ordinals(self, row: Row) -> dict[int, int]:
        """Return each edited token with which of the edit's tokens it is."""
        return {token: ordinal for ordinal, token in enumerate(self.edit.where.in_prompt(row))}


@dataclass(frozen=True)
class BoundCell:
    """A cell's edits at every site that they mean, in the order in which a pass reaches them."""

    index: int
    edits: tuple[BoundEdit, ...]
    base: str = UNEDITED
    """Fingerprint of the plan that its shared run carries."""

    @cached_property
    def own(self) -> tuple[BoundEdit, ...]:
        """The edits that the shared run does not carry."""
        return tuple(bound for bound in self.edits if not bound.of_base)

    @cached_property
    def each(self) -> tuple[BoundEdit, ...]:
        """Each edit once: at all the sites that it means, it means the same tokens."""
        found: dict[tuple[int, int, bool], BoundEdit] = {}
        for bound in self.edits:
            n_values = 1 if bound.value is None else bound.value.shape[1]
            found.setdefault((id(bound.edit), n_values, bound.of_base), bound)
        return tuple(found.values())

    @cached_property
    def names_text(self) -> bool:
        """Whether it names tokens by a part of the text, which another text with the same tokens may lack."""
        wheres = [
            where for bound in self.edits for where in (bound.edit.where, _hidden(bound.edit)) if where is not None
        ]
        return any(where.kind == "substring" for where in wheres)

    @cached_property
    def in_modules(self) -> bool:
        """Whether it edits a module path, whose place in the order of computation is not known."""
        return any(bound.site.kind == "module" for bound in self.edits)


def _hidden(edit: Edit) -> Positions | None:
    return edit.hidden if isinstance(edit, CutAttention) else None


def as_cells(cells: "Sequence[Cell | PlanLike]") -> list[Cell]:
    """Return cells of cells or of bare plans.

    Raises:
        BadArgument: there is none, or one is neither.
    """
    if isinstance(cells, Cell | Plan | Edit | str):
        raise BadArgument("cells is a list: of Cell(plan, labels), or of plans.")
    listed = [cell if isinstance(cell, Cell) else _cell(number, cell) for number, cell in enumerate(cells)]
    if not listed:
        raise BadArgument("there is no cell. Give a list of plans.")
    return listed


def _cell(number: int, given: PlanLike) -> Cell:
    if given is None or isinstance(given, Plan | Edit):
        return Cell(given)
    edits = tuple(given) if isinstance(given, Iterable) else (given,)
    if isinstance(given, str) or not all(isinstance(one, Edit) for one in edits):
        raise BadArgument(
            f"cell {number} is {given!r:.60}, which edits nothing. A cell is Cell(edits, labels), a plan, an edit such "
            "as Zero('blocks.0.mlp_out') or a list of edits."
        )
    return Cell(edits)


def patching_cells(
    source: Activations | Mapping[str, Tensor],
    *,
    positions: Sequence[int] | None = None,
    by_unit: bool = False,
    base: PlanLike = None,
) -> list[Cell]:
    """Return one cell per site and position of `source`: that activation put in the place of the prompt's own.

    Args:
        source: another prompt's activations, captured at one row; or site → (pos, …site), as `CleanRun.activations`.
        positions: which of its positions; None: all that it holds.
        by_unit: one cell for each unit of the site (each head of `heads`, …) instead of one for all.
        base: edits of the run that is patched into.

    Raises:
        BadArgument: `source` holds several rows, or not these positions.
    """
    cells, base = [], as_plan(base)
    for name, tensor in _one_row(source).items():
        units: list[tuple[int, ...] | None] = [(unit,) for unit in range(tensor.shape[1])] if by_unit else [None]
        held = source.positions[0] if isinstance(source, Activations) else range(len(tensor))
        if missing := set(positions or ()) - set(held):
            raise BadArgument(f"the source of patching does not hold position {min(missing)}.")
        for position in held if positions is None else positions:
            value = tensor[held.index(position)]
            for unit in units:
                labels = {"site": name, "position": position} | ({} if unit is None else {"unit": unit[0]})
                edit = Replace(name, value, positions=position, units=unit)
                cells.append(Cell(edit, labels, base))
    return cells


def _one_row(source: Activations | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    if not isinstance(source, Activations):
        return source
    if len(source.positions) != 1:
        raise BadArgument(f"the source of patching holds {len(source.positions)} prompts; give one.")
    return {name: tensor[0] for name, tensor in source.items()}


def bind_cells(network: Network, cells: Sequence[Cell]) -> list[BoundCell]:
    """Resolve every site, unit and value of every cell.

    Raises:
        RheostatError: of the class that fits the mistake; the message names the cell.
    """
    placed = [_place(network, index, cell) for index, cell in enumerate(cells)]
    values = Values(network, [(edit, site, None) for each in placed for edit, site in each], prompt_reader(network))
    bases = _fingerprints(cells)
    return [_bind(network, index, cells[index], each, values, bases[index]) for index, each in enumerate(placed)]


def _fingerprints(cells: Sequence[Cell]) -> list[str]:
    """Return the fingerprint of each cell's base; edits that many cells hold are read once."""
    seen: dict[tuple[int, ...], str] = {}
    found = []
    for cell in cells:
        base = as_plan(cell.base)
        key = tuple(map(id, base))
        if key not in seen:
            seen[key] = base.fingerprint()
        found.append(seen[key])
    return found


def check_cell(cell: BoundCell, row: Row) -> None:
    """Refuse edits that do not fit the tokens of a prompt, or reach none of them.

    Raises:
        RheostatError: of the class that fits the mistake; the message names the cell.
    """
    for bound in cell.each:
        try:
            check_count(bound.edit, bound.site, row, bound.value)
            if isinstance(bound.edit, CutAttention) and not cut_edges(bound.edit, row):
                raise EditNotApplied(f"{bound.edit}: no query token sees one of the keys; it would change nothing.")
            if not bound.edit.where.in_prompt(row):
                raise EditNotApplied(f"{bound.edit} reaches no token of a prompt; it would change nothing.")
        except RheostatError as error:
            raise _named(error, cell.index) from error
    _check_sight(cell, row)


def _check_sight(cell: BoundCell, row: Row) -> None:
    """Refuse cuts that together leave a token without any key."""
    hidden: dict[tuple[Site, int], set[int]] = {}
    for bound in cell.edits:
        if isinstance(bound.edit, CutAttention) and bound.edit.strength == 1 and bound.edit.units is None:
            for query, key in cut_edges(bound.edit, row):
                hidden.setdefault((bound.site, query), set()).add(key)
    for (site, query), keys in hidden.items():
        if len(keys) == query + 1:
            raise EditNotUsable(
                f"cell {cell.index}: token {query} sees no key at {site} after the cuts. Leave it one, such as itself."
            )


def cut_edges(edit: CutAttention, row: Row) -> list[tuple[int, int]]:
    """Return the pairs of query and key token of a prompt that an edit cuts: no token sees one after it."""
    keys = edit.hidden.in_prompt(row)
    return [(query, key) for query in edit.where.in_prompt(row) for key in keys if key <= query]


def depth(network: Network, site: Site) -> tuple[int, int]:
    """Return (border, order after it): where a pass reaches a site. Border b lies before block b.

    Sites of one depth are one tensor.
    """
    if site.kind == "embed":
        return 0, 0
    if site.block is None:
        return network.n_blocks, 1 + ("final", "logits").index(site.kind)
    if site.kind == "resid_post":
        return site.block + 1, 0
    return site.block, BLOCK_KINDS.index(site.kind)


def _place(network: Network, index: int, cell: Cell) -> list[tuple[Edit, Site]]:
    try:
        return [(edit, site) for edit in cell.plan for site in edited_sites(network, edit)]
    except RheostatError as error:
        raise _named(error, index) from error


def _bind(
    network: Network, index: int, cell: Cell, placed: Sequence[tuple[Edit, Site]], values: Values, base: str
) -> BoundCell:
    edits = []
    n_base = sum(len(edited_sites(network, edit)) for edit in as_plan(cell.base))
    try:
        for number, (edit, site) in enumerate(placed):
            check_units(edit, site, None if site.kind == "module" else network.body.shape(site.kind))
            value = values.of(edit, site)
            if value is not None and site.kind != "module" and value.shape[0] != 1:
                raise EditNotUsable(f"{edit}: its value has {value.shape[0]} rows, a cell is one.")
            edits.append(BoundEdit(edit, site, value, of_base=number < n_base))
    except RheostatError as error:
        raise _named(error, index) from error
    bound = BoundCell(index, tuple(edits), base)
    return bound if bound.in_modules else BoundCell(index, _in_order(network, edits), base)


def _in_order(network: Network, edits: Sequence[BoundEdit]) -> tuple[BoundEdit, ...]:
    """Sort as a pass applies them: by depth, a block's output before the next one's input, then as the plan does."""

    def order(bound: BoundEdit) -> tuple[tuple[int, int], bool]:
        return depth(network, bound.site), bound.site.kind != "resid_post"

    return tuple(sorted(edits, key=order))


def _named(error: RheostatError, index: int) -> RheostatError:
    return type(error)(f"cell {index}: {error}")
