"""`Directions`: one direction per site for the same concept, with what tells each from noise."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from rheostat.base.errors import BadArgument, SiteNotFound
from rheostat.base.names import did_you_mean
from rheostat.base.shapes import Profile
from rheostat.directions.bands import Columns, by_block
from rheostat.directions.direction import Direction

if TYPE_CHECKING:
    from rheostat.models.network import Network


@dataclass(frozen=True, eq=False)
class Directions(Mapping[str, Direction]):
    """Site → direction, in the order of computation."""

    directions: Mapping[str, Direction]
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    """How well each tells the classes apart on texts that it was not fitted on, a row per site; empty where nothing was
    held out.

    - `site`, `block`, `length`: of the direction.
    - `accuracy`, `low`, `high`: share of pairs whose positive text reaches further along it, with the 95 % bootstrap
      interval over groups; of texts without pairs the AUROC.
    - `shuffled`, `shuffled_sd`: the same of directions fitted with shuffled labels, mean and standard deviation.
    - `random`, `random_sd`: the same of random directions, turned towards the positive class of the fitted texts.
    - `effect_size`: distance between the classes in standard deviations within them (Cohen's d).
    - `threshold`, `auroc`, each with `_low` and `_high`: share of texts on the right side of the fitted midpoint, and
      the area under the ROC curve.
    - `by_length`: AUROC of the number of tokens alone, the larger of both signs: what a reader of lengths would reach.
    - `n`, `n_groups`: pairs (or texts) and groups that these figures come from.
    - `choice`, `choice_effect`: accuracy and effect size on the other held-out texts, by which `best` is chosen.
    """

    def __post_init__(self) -> None:
        if not self.directions:
            raise BadArgument("no direction was given.")

    @classmethod
    def of(cls, *directions: Direction) -> "Directions":
        """Return directions at different sites as one value, without figures.

        Raises:
            BadArgument: none is given, or two lie at one site.
        """
        found = {one.site: one for one in directions}
        if len(found) < len(directions):
            raise BadArgument("two of the directions lie at one site; add them, or keep them apart.")
        return cls(found)

    def __getitem__(self, site: object) -> Direction:
        name = str(site)
        if name not in self.directions:
            raise SiteNotFound(f"no direction at {name!r}.{did_you_mean(name, self.directions)}")
        return self.directions[name]

    def __contains__(self, site: object) -> bool:
        return str(site) in self.directions

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
        """The direction with the highest accuracy on the texts kept for the choice, among equals the largest effect.

        Its row in the table, `best_figures`, comes from texts that had no part in the choice.

        Raises:
            BadArgument: nothing was held out when they were fitted.
        """
        return self[self.best_figures["site"]]

    @property
    def best_figures(self) -> "pd.Series[float]":
        """The table's row for `best`.

        Raises:
            BadArgument: nothing was held out when they were fitted.
        """
        if self.table.empty:
            raise BadArgument(
                f"the directions of {self.concept!r} have no held-out accuracy to choose by: name a site."
            )
        return self.table.sort_values(["choice", "choice_effect"], ascending=False, kind="stable").iloc[0]

    def without_weights(self) -> "Directions":
        """Return them without the hash of the weights, so that `Direction.check` looks at sites and widths alone."""
        return replace(self, directions={site: one.without_weights() for site, one in self.items()})

    def profile(self) -> Profile:
        """Return the held-out accuracy by block, with its controls, as a figure.

        Raises:
            BadArgument: nothing was held out, or the sites lie in no block.
        """
        table = self.table
        if table.empty or table["block"].isna().any():
            raise BadArgument(f"the directions of {self.concept!r} have no held-out accuracy by block to draw.")
        first = table.iloc[0]
        method, kind = next(iter(self.values())).method, str(first["site"]).rpartition(".")[2]
        below, above = table["shuffled"] - table["shuffled_sd"], table["shuffled"] + table["shuffled_sd"]
        lines: dict[str, Columns] = {
            method.replace("_", " "): ("accuracy", "low", "high"),
            "shuffled labels": ("shuffled", "shuffled_below", "shuffled_above"),
            "random directions": ("random", None, None),
        }
        rows = table.assign(shuffled_below=below, shuffled_above=above)
        best = self.best_figures
        return Profile(
            name="accuracy-by-block",
            title=f"{self.concept}: telling the classes apart by block",
            x_label=f"block ({kind})",
            y_label="held-out accuracy",
            table=by_block(rows, lines).dropna(subset=["value"]),
            note=(
                f"{int(first['n'])} held-out pairs or texts in {int(first['n_groups'])} groups. Bands: 95 % bootstrap "
                "interval over groups; ± 1 standard deviation of the fits with shuffled labels. Best by other held-out "
                f"texts: {best['site']}, here {best['accuracy']:.3f}."
            ),
            reference={"chance": 0.5},
        )

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write a safetensors file; see `rheostat.directions.files.save_directions`."""
        from rheostat.directions.files import save_directions

        save_directions(self, path, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> "Directions":
        """Read what `save` wrote; see `rheostat.directions.files.load_directions`."""
        from rheostat.directions.files import load_directions

        return load_directions(path)

    def to_gguf(
        self,
        path: str | Path,
        *,
        model_hint: str | None = None,
        without_block_0: bool = False,
        overwrite: bool = False,
    ) -> None:
        """Write a control vector for llama.cpp; see `rheostat.directions.control_vectors.export_gguf`."""
        from rheostat.directions.control_vectors import export_gguf

        export_gguf(self, path, model_hint=model_hint, without_block_0=without_block_0, overwrite=overwrite)

    @classmethod
    def from_gguf(
        cls, path: str | Path, *, network: "Network | None" = None, concept: str | None = None
    ) -> "Directions":
        """Read a control vector; see `rheostat.directions.control_vectors.import_gguf`."""
        from rheostat.directions.control_vectors import import_gguf

        return import_gguf(path, network=network, concept=concept)

    def __mul__(self, factor: int | float) -> "Directions":
        if not isinstance(factor, Real):
            return NotImplemented
        table = self.table
        if not table.empty:
            table = table.assign(length=table["length"] * abs(factor))
        return replace(self, directions={site: one * factor for site, one in self.items()}, table=table)

    __rmul__ = __mul__

    def __neg__(self) -> "Directions":
        return self * -1.0

    def __add__(self, other: "Directions") -> "Directions":
        if not isinstance(other, Directions):
            return NotImplemented
        self._check_sites(other)
        return Directions({site: one + other[site] for site, one in self.items()})

    def __sub__(self, other: "Directions") -> "Directions":
        if not isinstance(other, Directions):
            return NotImplemented
        self._check_sites(other)
        return Directions({site: one - other[site] for site, one in self.items()})

    def _check_sites(self, other: "Directions") -> None:
        if set(self) != set(other):
            raise BadArgument(
                f"{self.concept!r} and {other.concept!r} lie at different sites, so they cannot be added."
            )

    def __repr__(self) -> str:
        sites = list(self)
        return f"Directions({self.concept!r}, {len(sites)} sites from {sites[0]} to {sites[-1]})"
