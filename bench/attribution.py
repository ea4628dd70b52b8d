"""Attribution patching, one gradient for all places, against activation patching as a sweep, which shares work."""

from dataclasses import dataclass
from functools import partial

import pandas as pd

from bench.outcome import Check, Outcome, compare
from bench.patching import PAIRS, pair
from rheostat.engine.turns import take_turns
from rheostat.metrics.tokens import LogitDifference
from rheostat.model import Model
from rheostat.tracing.activation_patching import cells_at
from rheostat.tracing.attribution_patching import attributions

TURNS = 5
TOLERANCE = 1e-3
"""Of the logit difference's change at the logits, where the estimate is exact."""


@dataclass(frozen=True)
class Places:
    """What is patched: kinds of site, as wholes or unit by unit."""

    pair: str
    """Of prompts, by name."""
    kind: str
    by_unit: bool = False

    @property
    def named(self) -> str:
        """What the table calls it."""
        return f"{self.pair}, {self.kind}{' singly' if self.by_unit else ''}"


CASES = (
    Places("5 tokens, differ at 3", "resid_pre"),
    Places("5 tokens, differ at 3", "attn_out"),
    Places("5 tokens, differ at 3", "heads", by_unit=True),
    Places("29 tokens, differ at 19", "resid_pre"),
)


def run(model: Model, *, quick: bool) -> list[Outcome]:
    """Compare case by case; `quick` takes the first, once."""
    cases, turns = (CASES[:1], 1) if quick else (CASES, TURNS)
    return [compare_case(model, places, turns=turns) for places in cases]


def compare_case(model: Model, places: Places, *, turns: int) -> Outcome:
    """Time both ways; where the path is linear they must agree, elsewhere how far they do is no benchmark's matter."""
    target, source = pair(model, PAIRS[places.pair])
    metric = LogitDifference(source[-1], source[0])
    site = f"blocks.*.{places.kind}"
    ways = {
        "ours": partial(ours, model, source, target, metric, site, by_unit=places.by_unit),
        "plain": partial(plain, model, source, target, metric, site, by_unit=places.by_unit),
    }
    results, times = take_turns(ways, turns=turns, device=model.device)
    exact = [way(model, source, target, metric, "logits", by_unit=False) for way in (ours, plain)]
    changes = [float(one["effect"].iloc[-1]) for one in exact]
    n = len(results["ours"])
    checks = (
        Check("change at the logits, relative", abs(changes[0] / changes[1] - 1), TOLERANCE),
        Check("rows of the table", abs(n - len(results["plain"])), 0),
    )
    return compare(
        "attribution",
        f"{places.named}: activation patching",
        ours=(f"{n} estimates from one gradient", times["ours"]),
        plain=("a sweep of as many cells", times["plain"]),
        checks=checks,
    )


def ours(
    model: Model, source: list[int], target: list[int], metric: LogitDifference, site: str, *, by_unit: bool
) -> pd.DataFrame:
    """Estimate every place."""
    return attributions(model, source, target, metric, site).table(by_unit=by_unit)


def plain(
    model: Model, source: list[int], target: list[int], metric: LogitDifference, site: str, *, by_unit: bool
) -> pd.DataFrame:
    """Patch every place."""
    activations = model.capture(source, site)
    n_units = model.body.shape(site.rsplit(".", maxsplit=1)[-1])[0] if by_unit else 1
    places = [
        {"site": name, "position": position, **({"unit": unit} if by_unit else {})}
        for name in activations
        for position in activations.positions[0]
        for unit in range(n_units)
    ]
    table = model.sweep(target, cells_at(activations, pd.DataFrame(places)), metric)
    (clean,) = model.sweep(target, [None], metric)[metric.column]
    return table.assign(effect=table[metric.column] - clean)
