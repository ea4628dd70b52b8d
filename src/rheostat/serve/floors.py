"""What a key may ask of the network: not less than its floor, nothing that undoes an impairment, only its own sites.

With a floor above 0 there are no edits at all. Edits can undo an impairment, also where the noise is added last:

- scaling what every sublayer writes makes noise of a given size small beside it, and the norms hide the scale;
- an edit whose value comes from another prompt reads it in the intact network;
- the noise of one prompt stays the same, so that a vector that cancels it can be searched for, answer by answer.

No rule about sites or sizes is known that excludes all three, so that none is offered.
"""

from fnmatch import fnmatchcase

from rheostat.base.errors import SiteNotFound, SiteNotOffered
from rheostat.models.network import Network
from rheostat.serve.keys import Key
from rheostat.serve.refusals import BelowFloor, NotGranted
from rheostat.sites.site import SiteLike, resolve


def check_impairment(key: Key, asked: float | None, *, default: str) -> float:
    """Return the impairment of a request; what was asked for is never raised to the floor.

    Args:
        key: whose floor counts.
        asked: None: nothing was asked for.
        default: what that means: `none`, an impairment of 0, or `floor`, the key's floor.

    Raises:
        BelowFloor: it is below the key's floor.
    """
    found = (key.floor if default == "floor" else 0.0) if asked is None else asked
    if not found >= key.floor:
        given = "no impairment was asked for, which means 0" if asked is None else f"impairment {found!r}"
        raise BelowFloor(
            f"{given}; the floor of the key {key.id} is {key.floor!r}. Ask for an impairment of {key.floor!r} to 1.",
            floor=key.floor,
            asked=asked,
        )
    return found


def check_draw(key: Key, draw: int) -> None:
    """Refuse draws that were not granted.

    Raises:
        NotGranted
    """
    if draw >= key.draws:
        raise NotGranted(f"draw {draw}: the key {key.id} was granted draws 0 to {key.draws - 1}.")


def check_endpoint(key: Key, endpoint: str) -> None:
    """Refuse endpoints that were not granted.

    Raises:
        NotGranted
    """
    if endpoint not in key.endpoints:
        raise NotGranted(
            f"the key {key.id} may not ask the endpoint {endpoint}; it may ask {', '.join(key.endpoints)}."
        )


def check_no_edits(key: Key, n_edits: int) -> None:
    """Refuse any edit where there is a floor.

    Raises:
        NotGranted
    """
    if n_edits and key.floor > 0:
        raise NotGranted(
            f"the key {key.id} has a floor of {key.floor!r}, and edits could undo an impairment; with a floor "
            "above 0 there are none. Leave out edits and steering."
        )


def check_sites(network: Network, key: Key, asked: SiteLike) -> None:
    """Refuse sites that were not granted.

    Raises:
        NotGranted
        SiteNotFound, SiteNotOffered
    """
    for site in map(str, resolve(network, asked)):
        if not any(_allows(network, pattern, site) for pattern in key.sites):
            granted = ", ".join(key.sites) or "none"
            raise NotGranted(f"the key {key.id} may not touch {site}; granted sites: {granted}.")


def _allows(network: Network, pattern: str, site: str) -> bool:
    return pattern == "*" or fnmatchcase(site, pattern) or site in _named(network, pattern)


def _named(network: Network, pattern: str) -> set[str]:
    """Return the sites that a pattern means in this network; one that means none grants none."""
    try:
        return {str(site) for site in resolve(network, pattern)}
    except (SiteNotFound, SiteNotOffered):
        return set()
