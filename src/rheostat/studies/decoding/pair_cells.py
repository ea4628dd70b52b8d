"""What is measured of a prompt pair, cell by cell: how strongly the lens reads the concept, how far an edit moves."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from rheostat.data.relations import PromptPair, prompt_pairs
from rheostat.edit.arithmetic import Add
from rheostat.edit.edit import Edit
from rheostat.edit.patching import Replace
from rheostat.model import Model
from rheostat.studies.decoding.cells import Cell, all_cells, capture_cells, lens_log_mass, output_log_probabilities
from rheostat.studies.part import step_params
from rheostat.studies.spread import spread
from rheostat.studies.study import Context
from rheostat.studies.vocabulary import group_tokens, single_token

N_PAIRS, N_PAIRS_QUICK = 32, 6
KNOWN = 1.0
"""A pair counts as known when each prompt prefers its own answer to the other's by this many nats."""
MIX_FACTOR = 0.7
PAIRS_A_STEP = 8
EDIT_KINDS = ("replace", "mix")
READINGS = ("concept", "answer", "contrast", "foreign")
SUBLAYERS = ("attn_out", "mlp_out")


@dataclass(frozen=True)
class KnownPair:
    """A prompt pair in one model's tokens."""

    pair: PromptPair
    clean: int
    corrupt: int
    base: float
    """Log-odds of the corrupt against the clean answer after the clean prompt: below zero."""
    full: float
    """How far the whole corrupt prompt moves them."""
    concept: tuple[int, ...]
    """Tokens of the clean concept, without its answer."""
    opposite: tuple[int, ...]
    """Tokens of the corrupt concept, without its answer."""


def known_pairs(model: Model, limit: int, seed: int) -> list[KnownPair]:
    """Return up to `limit` pairs that the model tells apart, drawn at random but spread over the relations.

    Of those, pairs with a concept that no single token spells are left out.
    """
    pairs = [pair for pair in prompt_pairs() if _answers(model, pair) is not None]
    clean = output_log_probabilities(model, [pair.clean_prompt for pair in pairs])
    corrupt = output_log_probabilities(model, [pair.corrupt_prompt for pair in pairs])
    found = []
    for pair, row, other in zip(pairs, clean, corrupt, strict=True):
        answers = _answers(model, pair)
        assert answers is not None
        a, b = answers
        base, end = float(row[b] - row[a]), float(other[b] - other[a])
        if base < -KNOWN and end > KNOWN:
            concept = _concept_tokens(model, pair.clean_concept, pair.clean_answer)
            opposite = _concept_tokens(model, pair.corrupt_concept, pair.corrupt_answer)
            found.append(KnownPair(pair, a, b, base, end - base, concept, opposite))
    taken = spread(found, lambda one: one.pair.relation, limit, seed)
    return [one for one in taken if one.concept and one.opposite]


def _concept_tokens(model: Model, concept: str, answer: str) -> tuple[int, ...]:
    answers = group_tokens(model, [answer.strip()])
    return tuple(token for token in group_tokens(model, [concept]) if token not in answers)


def _answers(model: Model, pair: PromptPair) -> tuple[int, int] | None:
    clean, corrupt = single_token(model, pair.clean_answer), single_token(model, pair.corrupt_answer)
    return None if clean is None or corrupt is None else (clean, corrupt)


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per pair and cell: the readings and the movement under each edit.

    Columns: pair, relation, block, point; log-probabilities of words: `concept`, `answer`, `contrast` (the concept's
    minus the corrupt concept's) and `foreign` (another pair's concept); `replace` and `mix`: movement of the log-odds
    towards the corrupt answer, as a share of what the whole corrupt prompt does.
    """
    pairs = known_pairs(model, N_PAIRS_QUICK if context.quick else N_PAIRS, context.seed)
    cells = chosen_cells(model, quick=context.quick)
    shared = {"pairs": [asdict(one.pair) for one in pairs], "cells": [cell.site for cell in cells]}
    readings = context.step(
        f"manipulation-readings-{model.name}",
        step_params(model, context, words=[(one.concept, one.opposite) for one in pairs], **shared),
        lambda: pd.concat(_readings(model, pairs, cells), ignore_index=True),
    )
    tables = []
    for first in context.progress(range(0, len(pairs), PAIRS_A_STEP), f"informed manipulation, {model.name}"):
        some = pairs[first : first + PAIRS_A_STEP]

        def compute(some: Sequence[KnownPair] = some) -> pd.DataFrame:
            return pd.concat([_movements(model, one, cells) for one in some], ignore_index=True)

        params = step_params(model, context, first=first, factor=MIX_FACTOR, **shared)
        tables.append(context.step(f"manipulation-{model.name}", params, compute))
    return readings.merge(pd.concat(tables), on=["pair", "block", "point"], how="left", validate="one_to_one")


def chosen_cells(model: Model, *, quick: bool) -> list[Cell]:
    """Return all cells, or when quick those of every second block, the last one among them."""
    return [cell for cell in all_cells(model) if not quick or (model.n_blocks - 1 - cell.block) % 2 == 0]


def _readings(model: Model, pairs: Sequence[KnownPair], cells: Sequence[Cell]) -> list[pd.DataFrame]:
    states = capture_cells(model, [one.pair.clean_prompt for one in pairs], cells)
    tables = []
    for column, one in enumerate(pairs):
        groups = [one.concept, [one.clean], one.opposite, _foreign(pairs, column).concept]
        own, answer, opposite, foreign = lens_log_mass(model, states[:, column], groups).double().numpy().T
        read = {"concept": own, "answer": answer, "contrast": own - opposite, "foreign": foreign}
        tables.append(_by_cell(one, cells).assign(relation=one.pair.relation, **read))
    return tables


def _by_cell(one: KnownPair, cells: Sequence[Cell]) -> pd.DataFrame:
    blocks, points = [cell.block for cell in cells], [cell.point for cell in cells]
    return pd.DataFrame({"pair": one.pair.name, "block": blocks, "point": points})


def _foreign(pairs: Sequence[KnownPair], index: int) -> KnownPair:
    """Return a pair of another relation, half the list away."""
    n = len(pairs)
    candidates = [pairs[(index + n // 2 + step) % n] for step in range(n)]
    others = [one for one in candidates if one.pair.relation != pairs[index].pair.relation]
    return (others or candidates)[0]


def _movements(model: Model, one: KnownPair, cells: Sequence[Cell]) -> pd.DataFrame:
    source = capture_cells(model, [one.pair.corrupt_prompt], cells)[:, 0]

    def edit(kind: str, index: int) -> Edit:
        site, vector = cells[index].site, source[index]
        if kind == "replace":
            return Replace(site, vector, positions="last")
        return Add(site, vector, strength=MIX_FACTOR, positions="last")

    plans = [edit(kind, index) for kind in EDIT_KINDS for index in range(len(cells))]
    logs = output_log_probabilities(
        model, [one.pair.clean_prompt] * len(plans), plans=plans, tokens=[one.clean, one.corrupt]
    )
    moved = ((logs[:, 1] - logs[:, 0]).double().numpy() - one.base) / one.full
    by_kind = zip(EDIT_KINDS, np.split(moved, len(EDIT_KINDS)), strict=True)
    return _by_cell(one, cells).assign(**dict(by_kind))
