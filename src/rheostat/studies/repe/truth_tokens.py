"""Token by token: where in a statement do its states begin to tell that it is false?

A true and a false statement on one country begin with the same tokens, where nothing can be told: a control within the
measure. Directions are fitted on one half of the pairs of countries and read on the other, at every block and token.
"""

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Grid
from rheostat.directions.fit import fit_directions
from rheostat.directions.pairs import ContrastPair
from rheostat.directions.scores import ConceptReading, read_concept
from rheostat.metrics.statistics import auroc
from rheostat.model import Model
from rheostat.studies.judging import number
from rheostat.studies.part import Part, step_params
from rheostat.studies.record import Section
from rheostat.studies.repe.concepts import TRUTH, truth
from rheostat.studies.study import Context

PLACES = ("before the capital", "first token of the capital", "last token of the capital", "full stop")
N_SHOWN = 2
"""Statements whose every token is drawn."""


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return the rows of a `ConceptReading` with `place`, where the token is one of `PLACES`, and `positive`."""
    pairs = truth(limit=24 if context.quick else None, seed=context.seed).pairs
    half = len(pairs) // 4 * 2
    fitted, tested = pairs[:half], pairs[half:]

    def compute() -> pd.DataFrame:
        directions = fit_directions(model, fitted, concept=TRUTH, held_out=0, shuffles=0)
        texts = [text for pair in tested for text in (pair.positive, pair.negative)]
        read = read_concept(model, directions, texts, positions=slice(1, None))
        places = pd.concat([places_of(model, pair, 2 * number) for number, pair in enumerate(tested)])
        table = read.table.merge(places, on=["text", "position"], how="left")
        return table.assign(positive=table["text"] % 2 == 0, statement=table["text"].map(dict(enumerate(texts))))

    params = step_params(model, context, pairs=[(pair.positive, pair.negative) for pair in pairs], half=half)
    return context.step(f"truth-tokens-{model.name}", params, compute)


def places_of(model: Model, pair: ContrastPair, first: int) -> pd.DataFrame:
    """Return where the places lie in both statements of a pair: rows {text, position, place}."""
    both = [model.row(text).ids for text in (pair.positive, pair.negative)]
    same = next(place for place, (one, other) in enumerate(zip(*both, strict=False)) if one != other)
    rows = []
    for offset, ids in enumerate(both):
        named = zip((same - 1, same, len(ids) - 2, len(ids) - 1), PLACES, strict=True)
        rows += [{"text": first + offset, "position": position, "place": place} for position, place in named]
    return pd.DataFrame(rows)


def by_place(table: pd.DataFrame) -> pd.DataFrame:
    """Return the AUROC of true against false statements at every block and place: rows {block, place, auroc}."""
    rows = []
    for (_, place), own in table.dropna(subset=["place"]).groupby(["block", "place"], sort=False):
        scores, positive = own["score"].to_numpy(dtype=np.float64), own["positive"].to_numpy(dtype=bool)
        block = int(own["block"].iloc[0])
        rows.append({"block": block, "place": place, "auroc": float(auroc(scores, positive))})
    return pd.DataFrame(rows)


def run(context: Context) -> Part:
    """Read the statements of all models token by token."""
    tables = {model.name: measure(model, context) for model in context.models}
    found = {name: by_place(table) for name, table in tables.items()}
    figures: tuple[Figure, ...] = tuple(
        figure for name, table in tables.items() for figure in (_grid(name, found[name]), *_maps(name, table))
    )
    section = Section(
        heading="Token by token",
        text="\n\n".join(_describe(name, found[name]) for name in tables),
        figures=tuple(figure.name for figure in figures),
    )
    whole = pd.concat([table.assign(model=name) for name, table in found.items()], ignore_index=True)
    return Part((section,), {"truth-by-token": whole}, figures)


def _describe(name: str, found: pd.DataFrame) -> str:
    highest = found.sort_values("auroc", ascending=False, kind="stable").drop_duplicates("place").set_index("place")
    best = [
        f"{place} {number(float(highest['auroc'][place]))} (block {int(highest['block'][place])})" for place in PLACES
    ]
    return (
        f"{name}. Directions fitted at the full stop tell true from false statements, at the best block of each place, "
        f"with an AUROC of: {', '.join(best)}. Before the capital both statements are the same text, so 0.5 but "
        "for round-off is the only answer there."
    )


def _grid(name: str, found: pd.DataFrame) -> Grid:
    shown = found.sort_values("block", ascending=False, kind="stable")
    table = shown.rename(columns={"place": "x", "block": "y", "auroc": "value"}).astype({"y": str})
    return Grid(
        name=f"truth-tokens-{name}",
        title=f"Where in a statement its truth is read, {name}",
        x_label="token",
        y_label="block (resid_post)",
        value_label="AUROC on countries not fitted on",
        table=table[["x", "y", "value"]].reset_index(drop=True),
        centre=0.5,
        limits=(0.0, 1.0),
        note="Mean difference fitted at the full stop of the other half of the countries.",
    )


def _maps(name: str, table: pd.DataFrame) -> list[Grid]:
    texts = tuple(table.drop_duplicates("text").sort_values("text")["statement"].iloc[:N_SHOWN])
    columns = ["text", "site", "block", "position", "token", "shown", "score"]
    rows = table[columns].drop_duplicates(["text", "site", "position"]).astype({"block": "Int64"})
    reading = ConceptReading(TRUTH, name, texts, rows)
    maps = []
    for text in range(len(texts)):
        grid = reading.grid(text)
        maps.append(
            Grid(
                name=f"truth-map-{'true' if text % 2 == 0 else 'false'}-{name}",
                title=f"{'A true' if text % 2 == 0 else 'A false'} statement, {name}",
                x_label=grid.x_label,
                y_label=grid.y_label,
                value_label=grid.value_label,
                table=grid.table,
                centre=grid.centre,
                limits=grid.limits,
                note=f"“{texts[text]}” {grid.note}",
            )
        )
    return maps
