"""`Dial`: which part of a network is damaged and how; turned to an intensity, it is a plan."""

from dataclasses import dataclass, field

from rheostat.base.errors import BadArgument
from rheostat.capture.activations import Activations
from rheostat.edit.impairment import Impair
from rheostat.edit.plan import Plan
from rheostat.models.network import Network
from rheostat.neurons.cluster import Cluster
from rheostat.sites.positions import PositionsLike
from rheostat.sites.site import resolve


@dataclass(frozen=True, eq=False)
class Dial:
    """A kind of damage, to be turned up."""

    mode: str = "gaussian"
    """`gaussian`, `negative` or `magnitude`; see `Impair`."""
    kind: str = "mlp_out"
    """Kind of site, in every block: `mlp_in`, `neurons`, `mlp_out`, …; with a cluster, the cluster's own."""
    cluster: Cluster | None = None
    """Units to damage; None: everything at these sites."""
    distribution: str = field(default="normal", kw_only=True)
    """Of the noise: `normal`, `truncated` or `uniform`."""
    scale: Activations | None = field(default=None, kw_only=True)
    """What intensity 1 means at each site (`measure_scale`); None: 1, in units of the activation."""
    positions: PositionsLike = field(default="all", kw_only=True)

    def __post_init__(self) -> None:
        if self.cluster is not None and self.cluster.kind != self.kind:
            raise BadArgument(
                f"the cluster {self.cluster.label} holds units of {self.cluster.kind}, the dial damages {self.kind}."
            )
        self.plan(0.0)  # refuses what no intensity could mend

    @property
    def label(self) -> str:
        """How tables and figures call it."""
        noise = self.mode if self.distribution == "normal" else f"{self.mode} {self.distribution}"
        part = "everything" if self.cluster is None else self.cluster.label
        return f"{noise} at {self.kind}, {part}" + ("" if self.scale is None else ", relative")

    @property
    def most(self) -> float | None:
        """The largest intensity there is; None: noise has none."""
        return 1.0 if self.mode == "magnitude" else None

    def plan(self, intensity: float, *, seed: int = 0, draw: int = 0) -> Plan:
        """Return the damage of an intensity; at 0 it changes nothing, bit for bit.

        Raises:
            BadArgument: the intensity is negative, or above 1 in the mode `magnitude`.
        """
        if self.cluster is None:
            places: list[tuple[str, tuple[int, ...] | None]] = [(f"blocks.*.{self.kind}", None)]
        else:
            places = [(self.cluster.site(block), units) for block, units in self.cluster.units.items()]
        return Plan(
            tuple(
                Impair(
                    site,
                    self.mode,
                    intensity,
                    distribution=self.distribution,
                    scale=self.scale,
                    positions=self.positions,
                    units=units,
                    seed=seed,
                    draw=draw,
                )
                for site, units in places
            )
        )

    def check(self, network: Network) -> None:
        """See that the dial fits a network.

        Raises:
            ClusterNotUsable: its cluster is of another one.
            SiteNotFound, SiteNotOffered: the network has no such sites, or the scale lacks one.
        """
        sites = resolve(network, f"blocks.*.{self.kind}")
        if self.cluster is not None:
            self.cluster.check(network)
            sites = tuple(site for site in sites if site.block in self.cluster.units)
        if self.scale is not None:
            for site in sites:
                self.scale[site]
