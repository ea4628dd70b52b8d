"""Every concept's direction added and subtracted, and what that does to the model's answers and to neutral text."""

from collections.abc import Mapping

import pandas as pd
import torch

from rheostat.data.neutral_prompts import NEUTRAL_PROMPTS
from rheostat.directions.direction import Direction
from rheostat.directions.fit import fit_directions
from rheostat.edit.arithmetic import Add
from rheostat.engine.cells import Cell
from rheostat.metrics.divergence import KLToClean
from rheostat.model import Model
from rheostat.studies.part import step_params
from rheostat.studies.repe.concepts import Concept, all_concepts
from rheostat.studies.repe.questions import QUESTIONS
from rheostat.studies.study import Context
from rheostat.sweeps.grids import random_direction

N_PAIRS, N_NEUTRAL, N_RANDOM = 24, 8, 3
STRENGTHS = (-0.3, -0.1, 0.1, 0.3)
"""Length of what is added, in mean lengths of a residual state at the block."""
NEUTRAL = "neutral"
"""Stands among the questions for neutral text, where `value` is KL(clean ‖ edited) in nats."""


def blocks_of(model: Model) -> tuple[int, ...]:
    """Return the blocks at whose end directions are added: the middle one."""
    return (model.n_blocks // 2,)


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per question, prompt, direction, block and strength: the log-odds of the answer, in nats.

    Columns: question, prompt, direction, block, strength (0: unedited), value.
    """
    concepts = all_concepts(quick=context.quick, seed=context.seed)

    def compute() -> pd.DataFrame:
        directions = {one.name: directions_of(model, one) for one in context.progress(concepts, "fitting directions")}
        scales = scales_of(model)
        cells = [Cell((), {"direction": "none", "block": -1, "strength": 0.0})]
        for block in blocks_of(model):
            site = f"blocks.{block}.resid_post"
            for name, unit in units_at(directions, site, context.seed).items():
                for strength in STRENGTHS:
                    edit = Add(site, unit, strength=strength * scales[site])
                    cells.append(Cell(edit, {"direction": name, "block": block, "strength": strength}))
        tables = []
        for question in context.progress(QUESTIONS, f"asking, {model.name}"):
            metric = question.metric(model)
            found = model.sweep(list(question.prompts), cells, metric, progress=False)
            tables.append(found.rename(columns={metric.column: "value"}).assign(question=question.concept))
        neutral = model.sweep(list(NEUTRAL_PROMPTS[:N_NEUTRAL]), cells, KLToClean(), progress=False)
        tables.append(neutral.rename(columns={KLToClean().column: "value"}).assign(question=NEUTRAL))
        return pd.concat(tables)[["question", "prompt", "direction", "block", "strength", "value"]]

    params = step_params(
        model,
        context,
        pairs=[(pair.positive, pair.negative) for one in concepts for pair in one.pairs[:N_PAIRS]],
        questions=[(one.prompts, one.more, one.less) for one in QUESTIONS],
        strengths=STRENGTHS,
        random=N_RANDOM,
    )
    return context.step(f"manipulation-{model.name}", params, compute)


def directions_of(model: Model, concept: Concept) -> dict[str, Direction]:
    """Return the mean difference of a concept's pairs at the blocks that are steered."""
    sites = [f"blocks.{block}.resid_post" for block in blocks_of(model)]
    pairs = concept.pairs[:N_PAIRS]
    return dict(fit_directions(model, pairs, concept=concept.name, sites=sites, held_out=0, shuffles=0))


def units_at(directions: Mapping[str, Mapping[str, Direction]], site: str, seed: int) -> dict[str, torch.Tensor]:
    """Return all concepts' directions at a site at length 1, and random ones."""
    units = {name: found[site].unit for name, found in directions.items()}
    like = next(iter(units.values()))
    for draw in range(N_RANDOM):
        drawn = random_direction(like, site=site, name="random", seed=seed, draw=draw + 1)
        units[f"random {draw}"] = drawn / drawn.norm()
    return units


def scales_of(model: Model) -> dict[str, float]:
    """Return the mean length of a state of neutral text at the steered blocks, without each text's first token."""
    sites = [f"blocks.{block}.resid_post" for block in blocks_of(model)]
    held = model.capture(list(NEUTRAL_PROMPTS[:N_NEUTRAL]), sites, slice(2, None))
    return {site: float(held[site].norm(dim=-1).nanmean()) for site in sites}
