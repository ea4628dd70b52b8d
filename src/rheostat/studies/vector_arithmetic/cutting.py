"""Removing the top: MLPs, attention or whole blocks from the last one down, and as many MLPs at random."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rheostat.data.neutral_prompts import NEUTRAL_PROMPTS
from rheostat.edit.arithmetic import Zero
from rheostat.engine.cells import Cell
from rheostat.metrics.loss import Loss
from rheostat.metrics.statistics import Values
from rheostat.metrics.tokens import Rank
from rheostat.model import Model
from rheostat.studies.part import step_params
from rheostat.studies.study import Context
from rheostat.studies.vector_arithmetic.contexts import RivalRank
from rheostat.studies.vector_arithmetic.fact_versions import ABSTRACTIVE, EXTRACTIVE, Version
from rheostat.studies.vector_arithmetic.knowing import answered, asked_versions
from rheostat.studies.vector_arithmetic.knowing import measure as read_versions

TOP_MLPS, TOP_ATTENTION, WHOLE, RANDOM_MLPS = "top MLPs", "top attention", "whole top blocks", "random MLPs"
KINDS = {TOP_MLPS: ("mlp_out",), TOP_ATTENTION: ("attn_out",), WHOLE: ("attn_out", "mlp_out")}
SIXTHS = (1, 2, 3, 4)
"""How many sixths of the blocks lose something."""
DRAWS = 3
NOTHING = "nothing"
N_NEUTRAL, NEUTRAL_TOKENS = 30, 3


@dataclass(frozen=True)
class Removal:
    """Sublayers that are set to zero."""

    group: str
    sixths: int
    draw: int
    sites: tuple[str, ...]

    @property
    def cell(self) -> Cell:
        """The plan with its labels."""
        return Cell([Zero(one) for one in self.sites], {"group": self.group, "sixths": self.sixths, "draw": self.draw})


def removals(n_blocks: int, seed: int, *, quick: bool) -> list[Removal]:
    """Return nothing removed, then every removal; random MLPs are drawn from all blocks."""
    rng = np.random.default_rng(seed)
    found = [Removal(NOTHING, 0, 0, ())]
    for sixths in SIXTHS[:2] if quick else SIXTHS:
        n = max(1, round(sixths * n_blocks / 6))
        top = range(n_blocks - n, n_blocks)
        found += [Removal(group, sixths, 0, _sites(kinds, top)) for group, kinds in KINDS.items()]
        for draw in range(1 if quick else DRAWS):
            blocks = sorted(rng.permutation(n_blocks)[:n].tolist())
            found.append(Removal(RANDOM_MLPS, sixths, draw, _sites(("mlp_out",), blocks)))
    return found


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per version and removal: fact, version, group, sixths, draw, rank, rival_rank, loss.

    Facts are those answered in the abstractive and the extractive version; the loss is that on neutral text, in nats.
    """
    kept = set(answered(read_versions(model, context), ABSTRACTIVE, EXTRACTIVE)["fact"])
    listed = [one for one in asked_versions(model, context) if one.fact in kept]
    cells = [one.cell for one in removals(model.n_blocks, context.seed, quick=context.quick)]

    def compute() -> pd.DataFrame:
        table = ranks_under(model, listed, cells, context, "removing the top")
        return table.merge(neutral_losses(model, cells, quick=context.quick), on="cell").drop(columns="cell")

    params = step_params(
        model, context, prompts=[one.prompt for one in listed], plans=[c.plan.fingerprint() for c in cells]
    )
    return context.step(f"cutting-{model.name}", params, compute)


def ranks_under(
    model: Model, listed: Sequence[Version], cells: Sequence[Cell], context: Context, name: str
) -> pd.DataFrame:
    """Return the ranks of answer and rival for every version and cell, with the columns fact and version."""
    metrics = [Rank([one.answer for one in listed]), RivalRank([one.rival for one in listed])]
    prompts = [one.prompt for one in listed]
    show = context.show_progress or None
    if not listed:
        return pd.DataFrame(columns=["cell", "fact", "version", *cells[0].labels, "rank", "rival_rank"])
    table = model.sweep(prompts, cells, metrics, name=f"{name}, {model.name}", progress=show)
    for column in ("fact", "version"):
        table[column] = table["prompt"].map(dict(enumerate(getattr(one, column) for one in listed)))
    return table.drop(columns="prompt")


def neutral_losses(model: Model, cells: Sequence[Cell], *, quick: bool) -> pd.DataFrame:
    """Return per cell the mean loss, in nats, at the last tokens of neutral prompts."""
    prompts = list(NEUTRAL_PROMPTS[: N_NEUTRAL // 5 if quick else N_NEUTRAL])
    table = model.sweep(prompts, [one.edits for one in cells], Loss(slice(-NEUTRAL_TOKENS, None)), progress=False)
    return table.groupby("cell")["loss"].mean().rename("loss").reset_index()


def lost(table: pd.DataFrame, version: str, group: str, *, by_rank: bool = False) -> Values:
    """Return, per fact, how much of the answer a removal loses, as the mean over its sizes and draws.

    Args:
        table: as `measure` returns it.
        version: of the facts.
        group: of the removals.
        by_rank: loss of the reciprocal rank; else of the answer being first.
    """
    chosen = table[table["version"] == version]
    score = 1 / chosen["rank"] if by_rank else (chosen["rank"] == 1).astype(float)
    clean = score[chosen["group"] == NOTHING].groupby(chosen["fact"]).mean()
    left = score[chosen["group"] == group].groupby([chosen["fact"], chosen["sixths"]]).mean().groupby("fact").mean()
    found: Values = np.asarray(clean - left, dtype=np.float64)
    return found


def _sites(kinds: Sequence[str], blocks: Sequence[int] | range) -> tuple[str, ...]:
    return tuple(f"blocks.{block}.{kind}" for block in blocks for kind in kinds)
