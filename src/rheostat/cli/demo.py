"""`rheostat demo`: the main job, on a real model."""

from pathlib import Path
from typing import Annotated

import typer

from rheostat.cli import options

EXAMPLE = "Example: rheostat demo --out demo"


def command(
    model: options.ModelOption = options.DEFAULT_MODEL,
    prompt: Annotated[str, typer.Option(help="The prompt to read.")] = "The capital of Germany is",
    other: Annotated[str, typer.Option(help="The prompt whose activation is put in.")] = "The capital of France is",
    concept: Annotated[str, typer.Option(help="The token whose reading is searched.")] = " Germany",
    out: Annotated[
        Path, typer.Option(help="Folder of the page and the pictures; an earlier demo there is replaced.")
    ] = Path("demo"),
    overwrite: options.OverwriteOption = False,
    json: options.JsonOption = False,
) -> None:
    """Show the main job: read, find, edit exactly there, compare.

    Reads every layer's guess, finds where the concept is read, replaces that one activation, and shows what changed.
    """
    from rheostat.model import load
    from rheostat.report.folder import record_folder, write_record
    from rheostat.report.terminal import frame_table, grid_table
    from rheostat.studies.demonstration import demonstrate

    record_folder(out, overwrite=overwrite, replaces="demo")
    loaded = load(model)
    found = demonstrate(loaded, prompt, other, concept)
    write_record(found.record, out, overwrite=True)
    if json:
        options.print_json(found.to_dict())
        return
    console = options.console()
    console.print(grid_table(found.reading.grid()))
    print(
        f"\n{concept!r} is read most clearly at {found.site}, at the last token: p = {found.concept_probability:.3f}."
    )
    print(f"Replace that one activation with the one of “{other}”:\n")
    console.print(frame_table(found.answers))
    print(f"\nbefore: {prompt}{found.before_text}\nafter:  {prompt}{found.after_text}\n\nreceipt: {found.receipt}\n")
    print(found.control_line)
    options.note(f"wrote {out / 'index.html'}")
