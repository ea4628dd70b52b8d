"""Which of a concept's directions steer: one site, a block, a pattern of sites, or the best."""

from rheostat.base.errors import BadArgument, SiteNotFound
from rheostat.directions.direction import Direction
from rheostat.directions.directions import Directions
from rheostat.models.network import Network
from rheostat.sites.site import resolve


def select(
    network: Network, directions: Directions, *, site: str | None = None, block: int | None = None
) -> tuple[Direction, ...]:
    """Return the directions at the sites that a pattern names, or in a block; by default the best one.

    Args:
        network: where the sites are.
        directions: one per site.
        site: a site or a pattern, such as `blocks.10-14.resid_post`.
        block: instead, its number; negative ones count from the last.

    Raises:
        SiteNotFound: nothing lies there.
        BadArgument: both were given; or neither, where several directions have no accuracy to choose by.
        DirectionNotUsable: a direction belongs to another network.
    """
    if site is not None and block is not None:
        raise BadArgument(f"site {site!r} and block {block} both say where. Give one of them.")
    if site is None and block is None:
        chosen = [next(iter(directions.values())) if len(directions) == 1 else directions.best]
    elif site is not None:
        chosen = [directions[name] for name in map(str, resolve(network, site))]
    else:
        assert block is not None
        number = block + network.n_blocks if block < 0 else block
        chosen = [one for name, one in directions.items() if resolve(network, name)[0].block == number]
        if not chosen:
            raise SiteNotFound(f"no direction of {directions.concept!r} lies in block {block}; it has {directions!r}.")
    for one in chosen:
        one.check(network)
    return tuple(chosen)
