"""The analysed example: where one prompt's concept is read, and what replacing that one activation does."""

import pandas as pd

from rheostat.base.shapes import BlockDiagram, Figure, Grid, Profile
from rheostat.edit.patching import Replace
from rheostat.edit.source import FromPrompt
from rheostat.model import Model
from rheostat.studies.decoding.cells import Cell
from rheostat.studies.part import Part, Tables, joined, step_params
from rheostat.studies.record import Section
from rheostat.studies.study import Context
from rheostat.studies.vocabulary import group_tokens

PROMPT = "The capital of Germany is"
OTHER_PROMPT = "The capital of France is"
CONCEPT = ("Germany", "German")
TRACKED = (" Germany", " Berlin", " France", " Paris", " capital", " city")
KEPT = 5
"""Top tokens kept per cell."""


def measure_lens(model: Model, context: Context) -> pd.DataFrame:
    """Return the top tokens of every cell and of the output, and the tracked tokens: kind top, output or tracked."""

    def compute() -> pd.DataFrame:
        reading = model.lens(PROMPT, k=KEPT, track=TRACKED)
        final = reading.final.assign(block=model.n_blocks, point="output")
        kinds = {"top": reading.table, "output": final, "tracked": reading.tracked}
        columns = ["kind", "block", "point", "rank", "shown", "token_id", "probability"]
        return pd.concat([table.assign(kind=kind) for kind, table in kinds.items()], ignore_index=True)[columns]

    return context.step(
        f"example-lens-{model.name}", step_params(model, context, prompt=PROMPT, tracked=TRACKED, kept=KEPT), compute
    )


def concept_cell(model: Model, lens: pd.DataFrame) -> Cell:
    """Return the cell before the last block whose top token is a word of the concept, with the highest probability.

    Where no cell's top token is, the cell that gives the concept's words the highest probability.
    """
    words = group_tokens(model, CONCEPT)
    inner = lens[(lens["block"] < model.n_blocks - 1) & lens["kind"].isin(["top", "tracked"])]
    hits = inner[inner["token_id"].isin(words)].sort_values(["rank", "probability"], ascending=[True, False])
    best = hits.iloc[0]
    return Cell(int(best["block"]), str(best["point"]))


def measure_edit(model: Model, context: Context, cell: Cell) -> pd.DataFrame:
    """Return the top tokens of the output before and after the replacement, with the receipt."""

    def compute() -> pd.DataFrame:
        edit = Replace(cell.site, FromPrompt(OTHER_PROMPT), positions="last")
        rows = []
        for state, edits in (("before", []), ("after", [edit])):
            output = model.run(PROMPT, edits=edits)
            text = model.generate(PROMPT, edits=edits, max_new_tokens=12).text
            top = output.top_tokens(KEPT)
            receipt = str(output.receipt) if edits else ""
            rows.append(top.assign(state=state, site=cell.site, completion=text, receipt=receipt))
        return pd.concat(rows, ignore_index=True).drop(columns="row")

    return context.step(
        f"example-edit-{model.name}",
        step_params(model, context, prompts=[PROMPT, OTHER_PROMPT], site=cell.site, kept=KEPT),
        compute,
    )


def run(context: Context) -> Part:
    """Read the example on every model, and edit where the concept is read."""
    lenses: dict[str, pd.DataFrame] = {}
    edits: dict[str, pd.DataFrame] = {}
    cells: dict[str, Cell] = {}
    for model in context.progress(context.models, "the example"):
        lenses[model.name] = measure_lens(model, context)
        cells[model.name] = concept_cell(model, lenses[model.name])
        edits[model.name] = measure_edit(model, context, cells[model.name])
    figures: list[Figure] = []
    for name, lens in lenses.items():
        figures += [_grid(name, lens), _diagram(name, lens, cells[name].block), _profile(name, lens)]
    section = Section(
        heading="The analysed example",
        text="\n\n".join(_describe(name, lenses[name], edits[name], cells[name]) for name in lenses),
        figures=tuple(figure.name for figure in figures),
        tables=("example-lens", "example-edit"),
    )
    tables: Tables = {"example-lens": joined(lenses), "example-edit": joined(edits)}
    return Part(sections=(section,), tables=tables, figures=tuple(figures))


def _describe(name: str, lens: pd.DataFrame, edit: pd.DataFrame, cell: Cell) -> str:
    top = _top(lens, cell)
    before, after = (edit[edit["state"] == state].iloc[0] for state in ("before", "after"))
    changed = "changes" if before["token"] != after["token"] else "does not change"
    stream = lens[(lens["kind"] == "tracked") & (lens["point"] == "resid_post")]
    answers = stream[(stream["shown"].str.strip("␣") == "Berlin") & (stream["rank"] == 1)]
    first = f"block {answers['block'].min()}" if len(answers) else "no block"
    return (
        f"{name}, “{PROMPT}”. Before the last block the concept is read most clearly at {cell.site}, whose top "
        f"token is "
        f"{top['shown']} ({top['probability']:.3f}). The first block whose output has ␣Berlin on top: {first}. "
        f"The model answers {before['token']} ({before['probability']:.3f}). Replacing only the last token's "
        f"activation "
        f"there by the one of “{OTHER_PROMPT}” {changed} the answer: {after['token']} ({after['probability']:.3f}); "
        f"the text goes on “{after['completion'].strip()}” instead of “{before['completion'].strip()}”."
    )


def _top(lens: pd.DataFrame, cell: Cell) -> pd.Series:
    here = (lens["kind"] == "top") & (lens["block"] == cell.block) & (lens["point"] == cell.point)
    return lens[here & (lens["rank"] == 1)].iloc[0]


def _grid(name: str, lens: pd.DataFrame) -> Grid:
    top = lens[(lens["kind"] == "top") & (lens["rank"] == 1)].sort_values("block", ascending=False, kind="stable")
    table = pd.DataFrame({"x": top["point"], "y": top["block"], "value": top["probability"], "text": top["shown"]})
    return Grid(
        name=f"example-grid-{name}",
        title=f"What {name} reads at the last token of “{PROMPT}”",
        x_label="decode point",
        y_label="block",
        value_label="probability of the top token",
        table=table.reset_index(drop=True),
        note="Logit lens; the top token of each cell, last block on top; n = 1 prompt.",
    )


def _diagram(name: str, lens: pd.DataFrame, block: int) -> BlockDiagram:
    here = lens[(lens["kind"] == "top") & (lens["rank"] == 1) & (lens["block"] == block)]
    table = here.rename(columns={"shown": "token"})[["block", "point", "token", "probability"]]
    return BlockDiagram(
        name=f"example-block-{name}",
        title=f"The four decode points of block {block} of {name}",
        table=table.reset_index(drop=True),
        note=f"“{PROMPT}”, last token; the block in which the concept is read most clearly.",
    )


def _profile(name: str, lens: pd.DataFrame) -> Profile:
    tracked = lens[(lens["kind"] == "tracked") & lens["point"].isin(["attn_out", "resid_post"])]
    shown = tracked[tracked["shown"].isin(["␣Germany", "␣Berlin", "␣city"])]
    table = pd.DataFrame(
        {"x": shown["block"], "value": shown["probability"], "series": shown["shown"] + " at " + shown["point"]}
    )
    return Profile(
        name=f"example-words-{name}",
        title=f"Three words over the blocks of {name}",
        x_label="block",
        y_label="probability under the lens",
        table=table.reset_index(drop=True),
        note=f"“{PROMPT}”, last token; n = 1 prompt.",
    )
