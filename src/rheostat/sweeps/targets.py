"""`Target`: where the cells of a grid edit. A list of targets is one axis of a grid, what is done there the others."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TypeAlias

from rheostat.base.errors import BadArgument
from rheostat.models.network import Network
from rheostat.sites.positions import Positions, PositionsLike
from rheostat.sites.site import Site, SiteLike, resolve

Units: TypeAlias = int | Sequence[Sequence[int]] | Mapping[str, Sequence[int]]
"""A number n: every n neighbouring units; or the groups themselves, with or without names."""


@dataclass(frozen=True)
class Target:
    """Sites that are edited together, with their tokens and units."""

    sites: tuple[str, ...]
    """One name, or several for a window of blocks."""
    positions: Positions = field(default_factory=lambda: Positions("all"))
    units: tuple[int, ...] | None = None
    n_units: int | None = None
    """How many units the site has; None for a module path."""
    labels: Mapping[str, object] = field(default_factory=dict)
    """What the rows of the table say of it: site, block, position, unit or units."""


def targets(
    network: Network,
    sites: "SiteLike | Sequence[SiteLike]",
    *,
    positions: "PositionsLike | Sequence[PositionsLike]" = "all",
    units: Units | None = None,
) -> list[Target]:
    """Return one target per site that the patterns match, position and group of units.

    Labels: site, block (of sites in a block), position, and `unit` (its number) for single units or `units` for groups.

    Args:
        network: where the sites are.
        sites: names or patterns, such as `blocks.*.attn_out`.
        positions: one or a list; each makes a target of its own. Tokens that are edited together stand in a list of
            their own: `[[3, 4], "last"]`.
        units: None: all units together; 1: one by one (each head of `heads`); n: groups of n neighbours, of which the
            last may be smaller; or lists of units, or a mapping from a name to them.

    Raises:
        SiteNotFound, SiteNotOffered: a pattern matches nothing.
        BadArgument: there is no position, or the units are none, or of a module path.
    """
    listed = _positions(positions)
    found = resolve(network, sites)
    made = []
    for site, (where, said) in product(found, listed):
        n_units = None if site.kind == "module" else network.body.shape(site.kind)[0]
        at = {"site": str(site)} | ({} if site.block is None else {"block": site.block}) | {"position": said}
        for group, label in _groups(units, site, n_units):
            made.append(Target((str(site),), where, group, n_units, at | label))
    return made


def windows(
    network: Network,
    kind: str,
    width: int,
    *,
    positions: "PositionsLike | Sequence[PositionsLike]" = "all",
    centred: bool = True,
) -> list[Target]:
    """Return one target per block and position: the sites of one kind in `width` neighbouring blocks, edited together.

    Labels: site (as a pattern), block, first and last (block of the window, both included), position.

    Args:
        network: where the blocks are.
        kind: of site, such as `mlp_out`.
        width: in blocks.
        positions: one or a list; each makes a target of its own.
        centred: the window lies around the block, as `block_window` says; false: it begins there.

    Raises:
        SiteNotOffered: the family has no such site.
        BadArgument: the width is not positive.
    """
    found, listed = resolve(network, f"blocks.*.{kind}"), _positions(positions)
    made = []
    for block, (where, said) in product(range(network.n_blocks), listed):
        inside = block_window(block, width, network.n_blocks, centred=centred)
        sites = tuple(str(found[one]) for one in inside)
        pattern = str(Site(kind, block)) if width == 1 else f"blocks.{inside[0]}-{inside[-1]}.{kind}"
        labels = {"site": pattern, "block": block, "first": inside[0], "last": inside[-1], "position": said}
        made.append(Target(sites, where, None, network.body.shape(found[0].kind)[0], labels))
    return made


def block_window(block: int, width: int, n_blocks: int, *, centred: bool = True) -> range:
    """Return the blocks of a window, cut where the network ends.

    Centred, from max(0, block − width // 2) up to and without min(n_blocks, block + width − width // 2): an even width
    has one block more before the centre than after it. For 10 blocks that is block − 5 … block + 4, as in
    the code of causal tracing (Meng et al. 2022, arXiv 2202.05262); the paper has block − 4 … block + 5. Not centred,
    from `block` on.

    Raises:
        BadArgument: the width is not positive, or there is no such block.
    """
    if width < 1:
        raise BadArgument(f"width={width}: a window holds at least 1 block.")
    if not 0 <= block < n_blocks:
        raise BadArgument(f"block={block}: the network has blocks 0 to {n_blocks - 1}.")
    before = width // 2 if centred else 0
    return range(max(0, block - before), min(n_blocks, block + width - before))


def _positions(asked: "PositionsLike | Sequence[PositionsLike]") -> list[tuple[Positions, int | str]]:
    """Return positions with their labels: numbers where all are numbers, else texts, so that a column has one type."""
    listed: Sequence[PositionsLike] = [asked] if isinstance(asked, str | int | slice | Positions) else list(asked)
    if not listed:
        raise BadArgument("positions=[] names no token. Give one or several, such as ['last', 3].")
    parsed = [Positions.parse(one) for one in listed]
    if all(one.kind == "index" for one in parsed):
        return [(one, int(one.value)) for one in parsed]
    return [(one, one.value if one.kind == "substring" else str(one)) for one in parsed]


def _groups(
    asked: Units | None, site: Site, n_units: int | None
) -> list[tuple[tuple[int, ...] | None, dict[str, object]]]:
    if asked is None:
        return [(None, {})]
    if n_units is None:
        raise BadArgument(f"units are offered at named sites; {site} is a module path.")
    if isinstance(asked, int):
        if asked < 1:
            raise BadArgument(f"units={asked}: a group holds at least 1 unit.")
        parts: Iterable[tuple[int, ...]] = (
            tuple(range(first, min(first + asked, n_units))) for first in range(0, n_units, asked)
        )
        return [(part, {"unit": part[0]} if asked == 1 else {"units": _spelled(part)}) for part in parts]
    if isinstance(asked, Mapping):
        named = {name: tuple(group) for name, group in asked.items()}
    else:
        named = {_spelled(tuple(group)): tuple(group) for group in asked}
    if not named or not all(named.values()):
        raise BadArgument("units holds an empty group, or none; give lists of units, such as [[0, 3], [5]].")
    return [(group, {"units": name}) for name, group in named.items()]


def _spelled(units: tuple[int, ...]) -> str:
    """Return `4-7` for neighbours, else `4,9`."""
    if len(units) > 1 and units == tuple(range(units[0], units[0] + len(units))):
        return f"{units[0]}-{units[-1]}"
    return ",".join(map(str, units))
