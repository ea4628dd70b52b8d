"""`OfferedDirections`: the owner's directions, which keys may steer by, by name alone."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from rheostat.base.errors import DirectionNotUsable, SiteNotFound, SiteNotOffered
from rheostat.directions.directions import Directions
from rheostat.directions.files import load_directions
from rheostat.edit.plan import Plan
from rheostat.models.network import Network
from rheostat.serve.keys import Key
from rheostat.serve.protocol import NamedSteering
from rheostat.serve.refusals import NotGranted
from rheostat.sites.positions import Positions
from rheostat.steering.plan import steering_plan
from rheostat.steering.select import select


class OfferedDirections:
    """Directions by name, all of them checked against the served network."""

    def __init__(self, network: Network, directions: Mapping[str, Directions]) -> None:
        self._network = network
        self._directions = directions

    def names(self, key: Key) -> list[str]:
        """Return what a key may steer by; nothing, where it has a floor."""
        if key.floor > 0:
            return []
        return [name for name in self._directions if any(fnmatchcase(name, pattern) for pattern in key.directions)]

    def check(self, key: Key, asked: Sequence[str]) -> None:
        """Refuse directions that are not there, or not for this key; which of the two is not said.

        Raises:
            NotGranted
        """
        may = self.names(key)
        if missing := [name for name in asked if name not in may]:
            listed = ", ".join(may) or "none"
            raise NotGranted(f"no direction {missing[0]!r} for the key {key.id}; it may steer by: {listed}.")

    def plan(self, asked: NamedSteering) -> Plan:
        """Return the edits that add a direction, which `check` let pass.

        Raises:
            SiteNotFound, BadArgument: it does not lie at the site that is named, or one must be.
            EditNotUsable: the positions are none.
        """
        chosen = select(self._network, self._directions[asked.direction], site=asked.site)
        positions = Positions.from_json(asked.positions)
        return steering_plan(chosen, strength=asked.strength, positions=positions, keep_norm=asked.keep_norm)


def load_offered(network: Network, files: Mapping[str, Path]) -> OfferedDirections:
    """Read the directions that settings name.

    Raises:
        FileNotUsable: a file is missing, or holds no directions.
        DirectionNotUsable: a direction was fitted on other weights, or has another width or a site that is not there.
    """
    found = {}
    for name, path in files.items():
        found[name] = load_directions(path)
        try:
            for direction in found[name].values():
                direction.check(network)
        except (DirectionNotUsable, SiteNotFound, SiteNotOffered) as error:
            raise DirectionNotUsable(f"directions.{name} ({path}): {error}") from error
    return OfferedDirections(network, found)
