"""Informed manipulation: is the place where the lens reads a concept the place where editing moves the answer?

For each prompt pair and each cell (block and decode point, at the last token) two numbers are measured: how strongly
the lens reads the concept's words (the answer's are read apart) in the clean prompt, and how far the answer moves when
that cell is replaced by the corrupt prompt's, or the corrupt prompt's is mixed in. Their rank correlation over the
cells is the finding; a pair is the unit. Chance is the same correlation with the movements shifted along the blocks,
around the end, which keeps how alike neighbouring blocks and cells of one point are; where that lies below 0, it is 0.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Grid, Profile, Scatter
from rheostat.lenses.reading import POINTS
from rheostat.metrics.statistics import (
    Values,
    paired_difference,
    partial_spearman,
    rank_rows,
    spearman,
)
from rheostat.studies.curve import curve
from rheostat.studies.decoding.pair_cells import (
    EDIT_KINDS,
    MIX_FACTOR,
    READINGS,
    SUBLAYERS,
    measure,
)
from rheostat.studies.judging import compared, held, judge, measurement
from rheostat.studies.part import Part, joined
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

CLAIM = "decode-6"
STATEMENT = (
    "Where the decode shows the concept is where editing it works best, so inspection predicts the place to steer."
)
PLANTED_SHARE = 0.2
"""The rank correlation that is planted to see whether the measures would find it."""


@dataclass(frozen=True)
class Unfolded:
    """One model's table as arrays, (pair, cell)."""

    block: Values
    point: tuple[str, ...]
    columns: Mapping[str, Values]

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Unfolded":
        """Unfold the long table."""
        n_cells = len(table.drop_duplicates(["block", "point"]))
        first = table.iloc[:n_cells]
        columns = {name: table[name].to_numpy(dtype=float).reshape(-1, n_cells) for name in (*READINGS, *EDIT_KINDS)}
        return cls(first["block"].to_numpy(dtype=float), tuple(first["point"]), columns)

    def given_depth(self, reading: Values, moved: Values) -> Values:
        """Return, per pair, the rank correlation over blocks given depth, its mean over the points."""
        correlations = []
        for point in dict.fromkeys(self.point):
            here = np.array([one == point for one in self.point])
            correlations.append(partial_spearman(reading[:, here], moved[:, here], self.block[None, here]))
        return np.asarray(np.mean(correlations, axis=0))

    def shifts(self, kind: str) -> Iterator[Values]:
        """Yield a movement shifted by 1, 2, … blocks around the end, each point within itself."""
        n_points = len(dict.fromkeys(self.point))
        moved = self.columns[kind].reshape(len(self.columns[kind]), -1, n_points)
        for step in range(1, moved.shape[1]):
            yield np.roll(moved, step, axis=1).reshape(len(moved), -1)


def deciding(model: str, cells: Unfolded, kind: str, seed: int) -> list[Measurement]:
    """Return the comparisons that decide for one kind of edit.

    Reading and movement against shifted movements, the same given depth within each point, the concept's reading
    against another concept's, and the movement at the sublayer that the reading picks.
    """
    moved, concept = cells.columns[kind], cells.columns["concept"]
    plain, foreign = spearman(concept, moved), spearman(cells.columns["foreign"], moved)
    quantity = f"rank correlation of reading and movement ({kind})"
    return [
        against_shifts(model, quantity, cells, kind, lambda one: spearman(concept, one), seed),
        against_shifts(
            model,
            f"the same given depth within each point ({kind})",
            cells,
            kind,
            lambda one: cells.given_depth(concept, one),
            seed,
        ),
        compare(model, quantity, plain, foreign, "another concept's reading", seed),
        inspection(model, cells, kind, seed),
    ]


def reported(model: str, cells: Unfolded, kind: str, seed: int) -> list[Measurement]:
    """Return correlations that do not decide: other readings, depth alone, and depth over all points together."""
    read = cells.columns
    depth = np.broadcast_to(cells.block, read[kind].shape)
    correlations: dict[str, Callable[[Values], Values]] = {
        "rank correlation of reading and movement given depth over all points": lambda one: partial_spearman(
            read["concept"], one, cells.block[None]
        ),
        "rank correlation of the contrast reading given depth within each point": lambda one: cells.given_depth(
            read["contrast"], one
        ),
        "rank correlation of the answer's reading": lambda one: spearman(read["answer"], one),
        "rank correlation of depth alone with movement": lambda one: spearman(depth, one),
    }
    return [
        against_shifts(model, f"{label} ({kind})", cells, kind, correlate, seed)
        for label, correlate in correlations.items()
    ]


def against_shifts(
    model: str, quantity: str, cells: Unfolded, kind: str, correlate: Callable[[Values], Values], seed: int
) -> Measurement:
    """Return a correlation with the movement, per pair, against its mean over shifted movements, and at least 0."""
    chance = np.mean([correlate(one) for one in cells.shifts(kind)], axis=0)
    control = chance if chance.mean() > 0 else np.zeros_like(chance)
    return compare(model, quantity, correlate(cells.columns[kind]), control, "shifted movements, or 0", seed)


def compare(model: str, quantity: str, effect: Values, control: Values, control_name: str, seed: int) -> Measurement:
    """Return effect and control, one value per prompt pair each, as a measurement."""
    return measurement(
        model,
        quantity,
        paired_difference(effect, control, seed=seed),
        control=float(control.mean()),
        unit="prompt pairs",
        control_name=control_name,
    )


def inspection(model: str, cells: Unfolded, kind: str, seed: int) -> Measurement:
    """Return the movement at the sublayer output that the reading picks, pair by pair, against the mean sublayer's.

    The stream itself is left out: late in the network it carries the whole answer, so replacing it always works.
    """
    sublayer = np.array([point in SUBLAYERS for point in cells.point])
    reading, moved = cells.columns["concept"][:, sublayer], cells.columns[kind][:, sublayer]
    picked = moved[np.arange(len(moved)), reading.argmax(axis=1)]
    quantity = f"movement at the sublayer with the strongest reading ({kind})"
    return compare(model, quantity, picked, moved.mean(axis=1), "the mean sublayer", seed)


def with_planted_correlation(cells: Unfolded, kind: str, *, share: float = PLANTED_SHARE) -> Unfolded:
    """Return the cells with movements that follow the reading with a rank correlation of about `share`.

    The rest of each movement is the pair's real one, shifted by another number of blocks for each pair: as alike from
    block to block as real movements are.
    """
    shifted = np.stack(list(cells.shifts(kind)))
    pairs = np.arange(shifted.shape[1])
    rest = rank_rows(shifted[pairs % len(shifted), pairs])
    moved = share * rank_rows(cells.columns["concept"]) + np.sqrt(1 - share**2) * rest
    return replace(cells, columns={**cells.columns, kind: moved})


def run(context: Context) -> Part:
    """Measure all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    unfolded = {name: Unfolded.of(table) for name, table in tables.items()}
    both = [(name, cells, kind) for name, cells in unfolded.items() for kind in EDIT_KINDS]
    decide = [one for name, cells, kind in both for one in deciding(name, cells, kind, context.seed)]
    rest = [one for name, cells, kind in both for one in reported(name, cells, kind, context.seed)]
    planted = [
        one
        for name, cells, kind in both
        for one in deciding(name, with_planted_correlation(cells, kind), kind, context.seed)
    ]
    shown = sum(one.low > 0 for one in planted)
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(decide, planted_found=shown == len(planted)),
        reason=f"{held(decide)} Of a rank correlation of {PLANTED_SHARE} planted in shifted movements {shown} of "
        f"{len(planted)} comparisons are found. Last token only; the reading is the log-probability of the concept's "
        "words, without the answer's.",
        measurements=(*decide, *rest),
    )
    figures: list[Figure] = []
    for name, table in tables.items():
        figures += _figures(name, table)
    section = Section(
        heading="Informed manipulation: does the reading tell where to edit?",
        text="\n\n".join(_describe(name, table, [*decide, *rest]) for name, table in tables.items()),
        figures=tuple(figure.name for figure in figures),
        tables=("manipulation",),
    )
    return Part((section,), {"manipulation": joined(tables)}, tuple(figures), (verdict,))


def _describe(name: str, table: pd.DataFrame, every: Sequence[Measurement]) -> str:
    means = table.groupby(["block", "point"], sort=False)[["concept", "replace"]].mean()
    sublayers = means[means.index.get_level_values("point").isin(SUBLAYERS)]
    moved, read = (sublayers.index[int(sublayers[one].to_numpy().argmax())] for one in ("replace", "concept"))
    where = "the same place" if moved == read else f"block {read[0]}'s {read[1]}"
    mine = {one.quantity: one for one in every if one.model == name}

    def told(quantity: str) -> str:
        found = (compared(mine[f"{quantity} ({kind})"]) for kind in EDIT_KINDS)
        return ", mixing ".join(found)

    return (
        f"{name}, {table['pair'].nunique()} prompt pairs. Of all sublayer outputs, replacing block {moved[0]}'s "
        f"{moved[1]} moves the answer most: {sublayers['replace'].max():.0%} of the way to the other prompt's. The "
        f"lens reads the concept most strongly at {where}. Rank correlation of reading and movement given depth within "
        f"each point: replacing {told('the same given depth within each point')}. Movement by editing, pair by pair, "
        f"the sublayer that reads the concept most strongly: replacing "
        f"{told('movement at the sublayer with the strongest reading')}."
    )


def _figures(name: str, table: pd.DataFrame) -> list[Figure]:
    means = table.groupby(["block", "point"], sort=False)[["concept", *EDIT_KINDS]].mean().reset_index()
    n = table["pair"].nunique()
    scatter = Scatter(
        name=f"manipulation-scatter-{name}",
        title=f"Reading and movement in {name}",
        x_label="log-probability of the concept's words under the lens (nats)",
        y_label="movement of the answer by replacing (share)",
        table=pd.DataFrame(
            {
                "x": means["concept"],
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
    rows: list[dict[str, object]] = []
    for point in POINTS:
        here = table[table["point"] == point]
        places = [(block, group["replace"].to_numpy(dtype=float)) for block, group in here.groupby("block")]
        rows += curve(point, places, seed=0)
    return Profile(
        name=f"manipulation-profile-{name}",
        title=f"Replacing one cell of {name}, by block",
        x_label="block",
        y_label="movement of the answer (share)",
        table=pd.DataFrame(rows),
        note=f"Mean over n = {table['pair'].nunique()} prompt pairs with its 95 % bootstrap interval.",
        reference={"no change": 0.0, "the other prompt's answer": 1.0},
    )
