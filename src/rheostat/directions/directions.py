"""`Directions`: one direction per site for the same concept, with what tells each from noise."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import pandas as pd

from rheostat.base.errors import BadArgument, SiteNotFound
from rheostat.base.names import did_you_mean
from rheostat.directions.direction import Direction


@dataclass(frozen=True, eq=False)
class Directions(Mapping[str, Direction]):
    """Site → direction, in the order of computation."""

    directions: Mapping[str, Direction]
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    """How well each tells the classes apart on data that it was not fitted on: rows {site, block, accuracy, low, high,
    shuffled, effect_size, length}; empty where nothing was held out."""

    def __post_init__(self) -> None:
        if not self.directions:
            raise BadArgument("no direction was given.")

    def __getitem__(self, site: object) -> Direction:
        name = str(site)
        if name not in self.directions:
            raise SiteNotFound(f"no direction at {name!r}.{did_you_mean(name, self.directions)}")
        return self.directions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.directions)

    def __len__(self) -> int:
        return len(self.directions)

    @property
    def concept(self) -> str:
        """What they stand for."""
        return next(iter(self.directions.values())).concept

    @property
    def best(self) -> Direction:
        """The direction with the highest held-out accuracy; among equals the one with the largest effect size.

        Raises:
            BadArgument: nothing was held out when they were fitted.
        """
        if self.table.empty:
            raise BadArgument(
                f"the directions of {self.concept!r} have no held-out accuracy to choose by: name a site."
            )
        order = self.table.sort_values(["accuracy", "effect_size"], ascending=False)
        return self[order["site"].iloc[0]]

    def __mul__(self, factor: float) -> "Directions":
        return replace(self, directions={site: one * factor for site, one in self.items()})

    __rmul__ = __mul__

    def __neg__(self) -> "Directions":
        return self * -1.0

    def __add__(self, other: "Directions") -> "Directions":
        if set(self) != set(other):
            raise BadArgument(
                f"{self.concept!r} and {other.concept!r} lie at different sites, so they cannot be added."
            )
        return Directions({site: one + other[site] for site, one in self.items()})

    def __sub__(self, other: "Directions") -> "Directions":
        return self + (-other)

    def __repr__(self) -> str:
        sites = list(self)
        return f"Directions({self.concept!r}, {len(sites)} sites from {sites[0]} to {sites[-1]})"
