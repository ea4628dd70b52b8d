"""`measure`: the values of a metric for the prompts of one run, and their mean with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument, PositionNotFound
from rheostat.engine.batch import as_prompts
from rheostat.engine.forward import Output
from rheostat.metrics.metric import Bound, Metric
from rheostat.metrics.statistics import Interval
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt


@dataclass(frozen=True)
class Measured:
    """A metric's value for every prompt."""

    metric: Metric
    values: tuple[float, ...]
    """One per prompt, in the metric's own unit."""
    identifiers: tuple[str, ...]
    """Per prompt, what exactly was measured."""

    def mean(self, *, seed: int = 0) -> Interval:
        """Return the mean over prompts with its 95 % bootstrap interval.

        Raises:
            BadArgument: there are fewer than two prompts.
        """
        return self.metric.mean(self.values, seed=seed)

    def table(self) -> pd.DataFrame:
        """Return one row per prompt: columns prompt (its number), metric, value."""
        return pd.DataFrame({"prompt": range(len(self.values)), "metric": self.metric.column, "value": self.values})


def measure(
    metric: Metric,
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    output: Output,
    *,
    clean: Output | None = None,
) -> Measured:
    """Measure the logits of a run, prompt by prompt; pads and fillers never count.

    Args:
        metric: what to measure.
        network: the network that ran.
        prompts: the prompts of the run, in order.
        output: what the run returned, with logits at every position that the metric reads (`logits_at`).
        clean: what the run without edits returned, for `KLToClean`.

    Raises:
        PositionNotFound: the run did not unembed a position that the metric reads.
        BadArgument: the run has another number of rows than there are prompts, or `clean` is missing.
        NotOneToken, AmbiguousPosition: as `Metric.bind` says.
    """
    rows = [network.row(prompt) for prompt in as_prompts(prompts, network)]
    bound = metric.bind(network, rows)
    for one in (output, clean):
        if one is not None and len(one.positions) != len(rows):
            raise BadArgument(f"a run of {len(one.positions)} rows is measured for {len(rows)} prompts.")
    values = tuple(_value(one, number, output, clean) for number, one in enumerate(bound))
    return Measured(metric, values, tuple(one.identifier for one in bound))


def _value(bound: Bound, row: int, output: Output, clean: Output | None) -> float:
    beside = logits_of(clean, row, bound) if bound.needs_clean and clean is not None else None
    return float(bound(logits_of(output, row, bound)[None], beside)[0].detach())


def logits_of(output: Output, row: int, bound: Bound) -> Float[Tensor, "pos d_vocab"]:
    """Return the logits of one row at the positions that a metric reads.

    Raises:
        PositionNotFound: the run did not unembed one of them.
    """
    column = {position: index for index, position in enumerate(output.positions[row])}
    missing = [position for position in bound.positions if position not in column]
    if missing:
        raise PositionNotFound(
            f"{bound.identifier} reads the logits of row {row} at {missing}; the run unembedded "
            f"{list(column)}. Run with logits_at='all', or at these positions."
        )
    return output.logits[row, [column[position] for position in bound.positions]]
