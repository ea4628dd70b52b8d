"""Informed manipulation: is the place where the lens reads a concept the place where editing moves the answer?

For each prompt pair and each cell (block and decode point, at the last token) two numbers are measured: how strongly
the lens reads the concept in the clean prompt, and how far the answer moves when that cell is replaced by the corrupt
prompt's, or the corrupt prompt's is mixed in. Their rank correlation over the cells is the finding; a pair is the unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Grid, Profile, Scatter
from rheostat.data.relations import PromptPair, prompt_pairs
from rheostat.edit.arithmetic import Add
from rheostat.edit.edit import Edit
from rheostat.edit.patching import Replace
from rheostat.lenses.reading import POINTS
from rheostat.metrics.statistics import (
    Interval,
    Values,
    bootstrap_mean,
    paired_difference,
    partial_spearman,
    shuffled_control,
    spearman,
)
from rheostat.model import Model
from rheostat.studies.decoding.cells import Cell, all_cells, capture_cells, lens_log_mass, output_log_probabilities
from rheostat.studies.decoding.judging import held, judge, measurement, number
from rheostat.studies.decoding.part import Part, joined, step_params
from rheostat.studies.decoding.vocabulary import group_tokens, single_token
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

CLAIM = "decode-6"
STATEMENT = (
    "Where the decode shows the concept is where editing it works best, so inspection predicts the place to steer."
)
N_PAIRS, N_PAIRS_QUICK = 32, 6
KNOWN = 1.0
"""A pair counts as known when each prompt prefers its own answer to the other's by this many nats."""
MIX_FACTOR = 0.7
PAIRS_A_STEP = 8
EDIT_KINDS = ("replace", "mix")


# --- measuring --------------------------------------------------------------------------------------------------------


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
    """Tokens of the clean concept and its answer."""
    opposite: tuple[int, ...]
    """Tokens of the corrupt concept and its answer."""


def known_pairs(model: Model, limit: int, seed: int) -> list[KnownPair]:
    """Return up to `limit` pairs that the model tells apart, drawn at random but spread over the relations."""
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
            concept = tuple(group_tokens(model, [pair.clean_concept, pair.clean_answer.strip()]))
            opposite = tuple(group_tokens(model, [pair.corrupt_concept, pair.corrupt_answer.strip()]))
            found.append(KnownPair(pair, a, b, base, end - base, concept, opposite))
    return spread(found, limit, seed)


def spread(found: Sequence[KnownPair], limit: int, seed: int) -> list[KnownPair]:
    """Take pairs from each relation in turn, in a shuffled order, until `limit` are taken."""
    order = np.random.default_rng(seed).permutation(len(found))
    by_relation: dict[str, list[KnownPair]] = {}
    for index in order:
        by_relation.setdefault(found[index].pair.relation, []).append(found[index])
    rounds = max((len(group) for group in by_relation.values()), default=0)
    taken = [group[turn] for turn in range(rounds) for group in by_relation.values() if turn < len(group)]
    return taken[:limit]


def _answers(model: Model, pair: PromptPair) -> tuple[int, int] | None:
    clean, corrupt = single_token(model, pair.clean_answer), single_token(model, pair.corrupt_answer)
    return None if clean is None or corrupt is None else (clean, corrupt)


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per pair and cell: three readings and the movement under each edit.

    Columns: pair, relation, block, point; `reading` (log-probability of the concept's words), `contrast` (minus that of
    the corrupt concept's), `foreign` (log-probability of another pair's words); `replace` and `mix`: movement of the
    log-odds towards the corrupt answer, as a share of what the whole corrupt prompt does.
    """
    limit = N_PAIRS_QUICK if context.quick else N_PAIRS
    pairs = known_pairs(model, limit, context.seed)
    cells = chosen_cells(model, quick=context.quick)
    tables = []
    for first in context.progress(range(0, len(pairs), PAIRS_A_STEP), f"informed manipulation, {model.name}"):
        indices = range(first, min(first + PAIRS_A_STEP, len(pairs)))

        def compute(indices: range = indices) -> pd.DataFrame:
            readings = _readings(model, pairs, indices, cells)
            moved = [_movements(model, pairs[index], cells) for index in indices]
            return pd.concat([reading.assign(**move) for reading, move in zip(readings, moved, strict=True)])

        names = [one.pair.name for one in pairs]
        params = step_params(model, context, pairs=names, first=first, factor=MIX_FACTOR, cells=len(cells))
        tables.append(context.step(f"manipulation-{model.name}", params, compute))
    return pd.concat(tables, ignore_index=True)


def chosen_cells(model: Model, *, quick: bool) -> list[Cell]:
    """Return all cells, or when quick those of every second block, the last one among them."""
    return [cell for cell in all_cells(model) if not quick or (model.n_blocks - 1 - cell.block) % 2 == 0]


def _readings(
    model: Model, pairs: Sequence[KnownPair], indices: Sequence[int], cells: Sequence[Cell]
) -> list[pd.DataFrame]:
    states = capture_cells(model, [pairs[index].pair.clean_prompt for index in indices], cells)
    tables = []
    for column, index in enumerate(indices):
        one, other = pairs[index], _foreign(pairs, index)
        groups = [one.concept, one.opposite, other.concept]
        own, opposite, foreign = lens_log_mass(model, states[:, column], groups).double().numpy().T
        tables.append(
            pd.DataFrame(
                {
                    "pair": one.pair.name,
                    "relation": one.pair.relation,
                    "block": [cell.block for cell in cells],
                    "point": [cell.point for cell in cells],
                    "reading": own,
                    "contrast": own - opposite,
                    "foreign": foreign,
                }
            )
        )
    return tables


def _foreign(pairs: Sequence[KnownPair], index: int) -> KnownPair:
    """Return a pair of another relation, half the list away."""
    n = len(pairs)
    candidates = [pairs[(index + n // 2 + step) % n] for step in range(n)]
    others = [one for one in candidates if one.pair.relation != pairs[index].pair.relation]
    return (others or candidates)[0]


def _movements(model: Model, one: KnownPair, cells: Sequence[Cell]) -> dict[str, Values]:
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
    return dict(zip(EDIT_KINDS, np.split(moved, len(EDIT_KINDS)), strict=True))


# --- analysing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unfolded:
    """One model's table as arrays, (pair, cell)."""

    block: Values
    point: tuple[str, ...]
    columns: dict[str, Values]

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Unfolded":
        """Unfold the long table."""
        n_cells = len(table.drop_duplicates(["block", "point"]))
        first = table.iloc[:n_cells]
        names = ("reading", "contrast", "foreign", *EDIT_KINDS)
        columns = {name: table[name].to_numpy(dtype=float).reshape(-1, n_cells) for name in names}
        return cls(first["block"].to_numpy(dtype=float), tuple(first["point"]), columns)

    def given_depth(self) -> Values:
        """Return the covariate depth."""
        return self.block[None]

    def given_depth_and_point(self) -> Values:
        """Return depth within each point: one indicator and one slope per point."""
        points = list(dict.fromkeys(self.point))
        indicators = np.array([[float(point == one) for point in self.point] for one in points])
        return np.concatenate([indicators[1:], indicators * self.block])


def correlations(model: str, cells: Unfolded, kind: str, seed: int) -> dict[str, Measurement]:
    """Return the rank correlations between reading and movement, each with its control."""
    moved, reading = cells.columns[kind], cells.columns["reading"]
    shuffled = shuffled_control(reading, moved, seed=seed)
    plain = spearman(reading, moved)
    foreign = spearman(cells.columns["foreign"], moved)
    by_depth = spearman(np.broadcast_to(cells.block, moved.shape), moved)
    values = {
        "plain": ("rank correlation of reading and movement", plain, shuffled, "shuffled cells"),
        "given depth": (
            "the same given depth",
            partial_spearman(reading, moved, cells.given_depth()),
            shuffled,
            "shuffled cells",
        ),
        "given depth and point": (
            "the same given depth within each point",
            partial_spearman(reading, moved, cells.given_depth_and_point()),
            shuffled,
            "shuffled cells",
        ),
        "another concept": ("rank correlation of reading and movement", plain, foreign, "another concept's reading"),
        "contrast": (
            "rank correlation of the contrast reading given depth",
            partial_spearman(cells.columns["contrast"], moved, cells.given_depth()),
            shuffled,
            "shuffled cells",
        ),
        "depth alone": ("rank correlation of depth alone with movement", by_depth, shuffled, "shuffled cells"),
    }
    return {
        key: measurement(
            model,
            f"{label} ({kind})",
            paired_difference(effect, control, seed=seed),
            control=float(control.mean()),
            unit="prompt pairs",
            control_name=control_name,
        )
        for key, (label, effect, control, control_name) in values.items()
    }


def inspection(model: str, cells: Unfolded, kind: str, seed: int) -> Measurement:
    """Return the movement at the sublayer output that the reading picks, pair by pair, against the mean sublayer's.

    The stream itself is left out: late in the network it carries the whole answer, so replacing it always works.
    """
    sublayer = np.array([point in ("attn_out", "mlp_out") for point in cells.point])
    reading, moved = cells.columns["reading"][:, sublayer], cells.columns[kind][:, sublayer]
    picked = moved[np.arange(len(moved)), reading.argmax(axis=1)]
    average = moved.mean(axis=1)
    return measurement(
        model,
        f"movement at the sublayer with the strongest reading ({kind})",
        paired_difference(picked, average, seed=seed),
        control=float(average.mean()),
        unit="prompt pairs",
        control_name="the mean sublayer",
    )


def planted_correlation(n_pairs: int, n_cells: int, seed: int, *, rho: float = 0.2) -> Interval:
    """Return the interval found when a correlation of `rho` is planted in as many pairs and cells: the power."""
    rng = np.random.default_rng(seed)
    reading = rng.normal(size=(n_pairs, n_cells))
    moved = rho * reading + np.sqrt(1 - rho**2) * rng.normal(size=reading.shape)
    return bootstrap_mean(spearman(reading, moved), seed=seed)


def run(context: Context) -> Part:
    """Measure all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    unfolded = {name: Unfolded.of(table) for name, table in tables.items()}
    every: list[Measurement] = []
    deciding: list[Measurement] = []
    for name, cells in unfolded.items():
        for kind in EDIT_KINDS:
            found = correlations(name, cells, kind, context.seed)
            deciding += [found["plain"], found["given depth"]]
            every += [*found.values(), inspection(name, cells, kind, context.seed)]
    planted = {
        name: planted_correlation(len(cells.columns["reading"]), len(cells.point), context.seed)
        for name, cells in unfolded.items()
    }
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=all(one.above_zero for one in planted.values())),
        reason=f"{held(deciding)} A planted rank correlation of 0.2 is found: "
        + "; ".join(f"{name} {interval}" for name, interval in planted.items())
        + ". Last token only; the reading is the log-probability of the concept's and the answer's words.",
        measurements=tuple(every),
    )
    figures: list[Figure] = []
    for name, table in tables.items():
        figures += _figures(name, table)
    section = Section(
        heading="Informed manipulation: does the reading tell where to edit?",
        text="\n\n".join(_describe(name, table, every) for name, table in tables.items()),
        figures=tuple(figure.name for figure in figures),
        tables=("manipulation",),
    )
    return Part((section,), {"manipulation": joined(tables)}, tuple(figures), (verdict,))


# --- showing ----------------------------------------------------------------------------------------------------------


def _describe(name: str, table: pd.DataFrame, every: Sequence[Measurement]) -> str:
    means = table.groupby(["block", "point"], sort=False)[["reading", "replace", "mix"]].mean()
    sublayers = means[means.index.get_level_values("point").isin(["attn_out", "mlp_out"])]
    moved, read = (sublayers.index[int(sublayers[one].to_numpy().argmax())] for one in ("replace", "reading"))
    value = sublayers["replace"].max()
    same = "the same place" if moved == read else "another place"
    mine = [one for one in every if one.model == name]
    return (
        f"{name}, {table['pair'].nunique()} prompt pairs. Of all sublayer outputs, replacing block {moved[0]}'s "
        f"{moved[1]} "
        f"moves the answer most: {value:.0%} of the way to the other prompt's answer on average. The lens reads the "
        f"concept most strongly at block {read[0]}'s {read[1]}: {same}. "
        + " ".join(
            f"{one.quantity}: {number(one.effect)}, {one.control_name} {number(one.control)} "
            f"(difference [{number(one.low)}, {number(one.high)}])."
            for one in mine
        )
    )


def _figures(name: str, table: pd.DataFrame) -> list[Figure]:
    means = table.groupby(["block", "point"], sort=False)[["reading", "replace", "mix"]].mean().reset_index()
    n = table["pair"].nunique()
    scatter = Scatter(
        name=f"manipulation-scatter-{name}",
        title=f"Reading and movement in {name}",
        x_label="log-probability of the concept's words under the lens (nats)",
        y_label="movement of the answer by replacing (share)",
        table=pd.DataFrame(
            {
                "x": means["reading"],
                "y": means["replace"],
                "series": means["point"],
                "text": "block " + means["block"].astype(str),
            }
        ),
        note=f"One point per block and decode point; means over n = {n} prompt pairs. 1 = the other prompt's answer.",
    )
    down = means.sort_values("block", ascending=False, kind="stable")
    grids = [
        Grid(
            name=f"manipulation-{kind}-{name}",
            title=f"How far {doing} one cell moves the answer of {name}",
            x_label="decode point",
            y_label="block",
            value_label="movement of the answer (share of the whole prompt's)",
            table=pd.DataFrame({"x": down["point"], "y": down["block"], "value": down[kind]}).reset_index(drop=True),
            note=f"Last token only; means over n = {n} prompt pairs; last block on top.",
            centre=0.0,
        )
        for kind, doing in (("replace", "replacing"), ("mix", f"mixing in (factor {MIX_FACTOR})"))
    ]
    return [scatter, *grids, _profile(name, table)]


def _profile(name: str, table: pd.DataFrame) -> Profile:
    rows = []
    for point in POINTS:
        here = table[table["point"] == point]
        for block, group in here.groupby("block"):
            moved = bootstrap_mean(group["replace"].to_numpy(dtype=float), seed=0)
            rows.append({"x": block, "value": moved.value, "low": moved.low, "high": moved.high, "series": point})
    return Profile(
        name=f"manipulation-profile-{name}",
        title=f"Replacing one cell of {name}, by block",
        x_label="block",
        y_label="movement of the answer (share)",
        table=pd.DataFrame(rows),
        note=f"Mean over n = {table['pair'].nunique()} prompt pairs with its 95 % bootstrap interval.",
        reference={"no change": 0.0, "the other prompt's answer": 1.0},
    )
