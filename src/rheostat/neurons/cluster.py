"""`Cluster`: chosen units of one kind of site, block by block; a value that files hold and edits take."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rheostat.base.errors import BadArgument, ClusterNotUsable, FileNotUsable
from rheostat.base.files import atomic_file, output_path
from rheostat.models.network import Network
from rheostat.store.key import digest

FORMAT = "rheostat-cluster-1"


@dataclass(frozen=True)
class Cluster:
    """Units of one kind of site in some blocks."""

    kind: str
    """Kind of site: `neurons`, `mlp_out`, `mlp_in`, …"""
    units: Mapping[int, tuple[int, ...]]
    """Block → units, ascending, at least one."""
    method: str
    """How they were chosen: `random`, `attribution`, …"""
    topic: str
    model: str
    weights: str
    """Hash of the weights that they were chosen on."""

    def __post_init__(self) -> None:
        if not self.units or not all(self.units.values()):
            raise ClusterNotUsable(f"the cluster {self.method} of {self.topic} holds no unit in some block.")
        for block, units in self.units.items():
            if list(units) != sorted(set(units)) or min(units) < 0:
                raise ClusterNotUsable(f"the cluster's units of block {block} are not ascending, from 0, each once.")

    def __hash__(self) -> int:
        return hash((self.kind, tuple(sorted(self.units.items())), self.method, self.topic, self.weights))

    @property
    def n_units(self) -> int:
        """Units in all blocks together."""
        return sum(map(len, self.units.values()))

    @property
    def label(self) -> str:
        """How tables and figures call it."""
        return f"{self.topic} ({self.method})"

    def site(self, block: int) -> str:
        """Return the name of its site in a block."""
        return f"blocks.{block}.{self.kind}"

    def describe(self) -> dict[str, object]:
        """Return what a record says of a cluster: enough to recognise it."""
        units = {str(block): list(chosen) for block, chosen in self.units.items()}
        fields = {name: getattr(self, name) for name in _TEXTS}
        return {**fields, "n_units": self.n_units, "sha256": digest({**fields, "units": units})}

    def check(self, network: Network) -> None:
        """See that the cluster is one of this network.

        Raises:
            ClusterNotUsable: it was made on other weights, or names a block or unit that the network has not.
        """
        if not network.has_weights(self.weights):
            raise ClusterNotUsable(
                f"the cluster {self.label} was made on {self.model} (weights {self.weights[:8]}); this is "
                f"{network.name} ({network.weight_hash[:8]}). Make one for it: rheostat cluster {network.name}."
            )
        n_units = network.body.shape(self.kind)[0]
        for block, units in self.units.items():
            if not 0 <= block < network.n_blocks or units[-1] >= n_units:
                raise ClusterNotUsable(
                    f"the cluster {self.label} names unit {units[-1]} of block {block}; {network.name} has blocks 0 to "
                    f"{network.n_blocks - 1} with units 0 to {n_units - 1} at {self.kind}."
                )

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write a JSON file, whole or not at all.

        Raises:
            WouldOverwrite: the file exists and `overwrite` is false.
        """
        fields = {name: getattr(self, name) for name in _TEXTS}
        data = {"format": FORMAT, **fields, "units": {str(block): list(units) for block, units in self.units.items()}}
        with atomic_file(output_path(Path(path), overwrite=overwrite)) as target:
            target.write_text(json.dumps(data, indent=1))

    @classmethod
    def load(cls, path: str | Path) -> "Cluster":
        """Read what `save` wrote.

        Raises:
            FileNotUsable: the file is missing, damaged or of another kind.
        """
        try:
            data = json.loads(Path(path).read_text())
            if data["format"] != FORMAT:
                raise FileNotUsable(f"{path} has the format {data['format']!r}; a cluster has {FORMAT!r}.")
            units = {int(block): tuple(map(_as_unit, chosen)) for block, chosen in data["units"].items()}
            return cls(units=units, **{name: str(data[name]) for name in _TEXTS})
        except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileNotUsable(f"{path} cannot be read as a cluster ({type(error).__name__}: {error}).") from error
        except ClusterNotUsable as error:
            raise FileNotUsable(f"{path} holds no usable cluster: {error}") from error


_TEXTS = ("kind", "method", "topic", "model", "weights")


def n_of_share(share: float, n_units: int) -> int:
    """Return how many of a block's units a share is: at least one.

    Raises:
        BadArgument: it lies outside 0 to 1.
    """
    if not 0 < share <= 1:
        raise BadArgument(f"share={share:g}: above 0, at most 1.")
    return max(1, round(share * n_units))


def _as_unit(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no unit")
    return value
