"""Activation patching: put one activation of one prompt into the run of another, place by place.

Denoising puts the clean prompt's activations into the corrupted run and finds what suffices for the answer; noising
puts the corrupted prompt's into the clean run and finds what is necessary (Heimersheim and Nanda 2024, How to use and
interpret activation patching, arXiv:2404.15255). Introduced as causal mediation by Vig et al. 2020 (arXiv:2004.12265).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from rheostat.base.errors import BadArgument
from rheostat.base.shapes import Grid
from rheostat.engine.cells import patching_cells
from rheostat.engine.forward import capture, run
from rheostat.metrics.measure import measure
from rheostat.metrics.score import patching_score
from rheostat.metrics.tokens import LogitDifference
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt, Row
from rheostat.sites.positions import PositionsLike
from rheostat.sweeps.executor import ExecutorName
from rheostat.sweeps.sweep import sweep

Direction = Literal["denoise", "noise"]
DIRECTIONS = ("denoise", "noise")


@dataclass(frozen=True)
class Patching:
    """How far each patched activation moved the answer."""

    table: pd.DataFrame
    """Rows {site, block, position, token, logit_difference, score}, and unit where each was patched alone."""
    clean: float
    """Logit difference of the clean run, in nats."""
    corrupted: float
    """Logit difference of the corrupted run."""
    direction: Direction
    kind: str
    """Of the sites that were patched."""
    model: str
    prompts: tuple[str, str]
    """The clean and the corrupted one."""
    answers: tuple[str, str]
    """The answer, and the one that it is compared with."""

    def grid(self) -> Grid:
        """Return blocks × tokens (or × units, at their best token), coloured by the score, centred on 0."""
        across = "unit" if "unit" in self.table else "position"
        best = self.table.loc[self.table.groupby(["block", across])["score"].apply(lambda s: s.abs().idxmax())]
        cells = best.sort_values(["block", across], ascending=[False, True], kind="stable")
        names = cells["unit"].map("unit {}".format) if across == "unit" else _named(cells)
        into, origin = ("corrupted", "clean") if self.direction == "denoise" else ("clean", "corrupted")
        return Grid(
            name=f"patching-{self.kind}",
            title=f"{self.kind} of the {origin} prompt put into the {into} run, {self.model}",
            x_label="unit (at the token with the largest score)" if across == "unit" else "token of the prompt",
            y_label="block",
            value_label="score: 0 corrupted, 1 clean",
            table=pd.DataFrame({"x": names, "y": cells["block"], "value": cells["score"].round(3)}).reset_index(
                drop=True
            ),
            note=f"Clean: “{self.prompts[0]}”. Corrupted: “{self.prompts[1]}”. Logit difference of {self.answers[0]!r} "
            f"and {self.answers[1]!r}: clean {self.clean:.2f}, corrupted {self.corrupted:.2f} nats. n = 1 pair.",
            centre=0.0,
        )

    def rows(self) -> list[dict[Hashable, Any]]:
        """Return JSON-able rows {block, position, token, logit_difference, score}, and unit where there is one."""
        return self.table.drop(columns="site").to_dict("records")


def patch_activations(
    network: Network,
    clean: Prompt,
    corrupt: Prompt,
    *,
    answer: str | int,
    versus: str | int,
    kind: str = "resid_pre",
    positions: PositionsLike = "all",
    direction: Direction = "denoise",
    by_unit: bool = False,
    executor: ExecutorName = "local",
    address: str | None = None,
    n_workers: int | None = None,
) -> Patching:
    """Patch one kind of site, block by block and token by token.

    Args:
        network: the loaded network.
        clean: the prompt whose answer is `answer`.
        corrupt: a prompt with as many tokens whose answer is `versus`.
        answer: one token, such as `" Berlin"`.
        versus: the token that it is compared with.
        kind: of the sites: `resid_pre`, `attn_out`, `mlp_out`, `heads`, `neurons`, …
        positions: tokens to patch.
        direction: `denoise`: clean activations into the corrupted run; `noise`: the reverse.
        by_unit: patch each head (of `heads`), neuron or dimension alone.
        executor: who computes, `local` or `ray`; see `sweep`.
        address: of a running Ray cluster.
        n_workers: of a Ray cluster.

    Raises:
        BadArgument: the prompts differ in length, the two runs prefer the answer equally, or an unknown direction.
        NotOneToken, SiteNotOffered, PositionNotFound
    """
    if direction not in DIRECTIONS:
        raise BadArgument(f"direction={direction!r}: one of {', '.join(DIRECTIONS)}.")
    rows = [network.row(prompt) for prompt in (clean, corrupt)]
    _check_lengths(network, rows)
    metric = LogitDifference(answer, versus)
    values = [measure(metric, network, [one], run(network, [one])).values[0] for one in (clean, corrupt)]
    source, target = (clean, corrupt) if direction == "denoise" else (corrupt, clean)
    activations = capture(network, [source], f"blocks.*.{kind}", positions=positions)
    cells = patching_cells(activations, by_unit=by_unit)
    table = sweep(network, [target], cells, metric, executor=executor, address=address, n_workers=n_workers)
    table = table.rename(columns={metric.column: "logit_difference"}).drop(columns=["cell", "prompt"])
    tokens = rows[0 if target is clean else 1].ids
    table.insert(1, "block", table["site"].str.split(".").str[1].astype(int))
    table.insert(3, "token", [_shown(network, tokens[position]) for position in table["position"]])
    table["score"] = patching_score(table["logit_difference"].to_numpy(), clean=values[0], corrupted=values[1])
    return Patching(
        table=table,
        clean=values[0],
        corrupted=values[1],
        direction=direction,
        kind=kind,
        model=network.name,
        prompts=(_text(rows[0]), _text(rows[1])),
        answers=(str(answer), str(versus)),
    )


def _check_lengths(network: Network, rows: Sequence[Row]) -> None:
    if len(rows[0]) == len(rows[1]):
        return
    spelled = "; ".join(f"{len(row)}: {' | '.join(_shown(network, token) for token in row.ids)}" for row in rows)
    raise BadArgument(f"the two prompts need equally many tokens, place by place. They have {spelled}.")


def _named(cells: pd.DataFrame) -> "pd.Series[str]":
    return cells["position"].astype(str) + " " + cells["token"]


def _shown(network: Network, token: int) -> str:
    return network.show_token(token) if network.tokenizer is not None else str(token)


def _text(row: Row) -> str:
    return row.text if row.text is not None else str(list(row.ids))
