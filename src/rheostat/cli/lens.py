"""`rheostat lens`: what each block reads."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rheostat.base.files import output_path
from rheostat.cli import options

if TYPE_CHECKING:
    from rheostat.base.shapes import Grid
    from rheostat.lenses.reading import Reading

EXAMPLE = 'Example: rheostat lens "The capital of Germany is" --track " Berlin" --html lens.html'


def command(
    prompt: Annotated[str, typer.Argument(help="The text to read.")],
    model: options.ModelOption = options.DEFAULT_MODEL,
    position: Annotated[
        str, typer.Option(help="last, all, an index, start:stop, or a substring of the prompt.")
    ] = "last",
    k: Annotated[int, typer.Option(help="How many of the likeliest tokens to keep per cell.", min=1)] = 10,
    track: Annotated[list[str] | None, typer.Option(help="A token to follow everywhere. Repeatable.")] = None,
    edit: options.EditOption = None,
    replace: options.ReplaceOption = None,
    mix: options.MixOption = None,
    factor: options.FactorOption = 0.7,
    mix_kind: options.MixKindOption = None,
    at: options.AtOption = None,
    json: options.JsonOption = False,
    csv: Annotated[Path | None, typer.Option(help="Write the rows here.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write the picture here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page here.")] = None,
    overwrite: options.OverwriteOption = False,
    dtype: options.DtypeOption = "float32",
    device: options.DeviceOption = "cpu",
) -> None:
    """Read a prompt with the logit lens at four points of every block.

    The points: attention output, residual stream after it, MLP output, block output.
    """
    for path in (csv, png, html):
        if path is not None:
            output_path(path, overwrite=overwrite)
    from rheostat.model import load

    plan = options.edits(edit, replace, mix, factor=factor, mix_kind=mix_kind, at=at)
    loaded = load(model, dtype=dtype, device=device)
    reading = loaded.lens(prompt, positions=options.positions(position), k=k, track=track or (), edits=plan)
    grids = [reading.grid(), *(reading.grid(track=token) for token in track or ())]
    if json:
        options.print_json(reading.rows())
    else:
        from rheostat.report.terminal import grid_table

        for grid in grids:
            options.console().print(grid_table(grid))
    _write_files(reading, grids, csv, png, html, overwrite=overwrite)


def _write_files(
    reading: "Reading", grids: "list[Grid]", csv: Path | None, png: Path | None, html: Path | None, *, overwrite: bool
) -> None:
    if csv is not None:
        options.written(csv, lambda path: reading.table.to_csv(path, index=False), overwrite=overwrite)
    if png is not None:
        from rheostat.report.figures import write_png

        options.written(png, lambda path: write_png(grids[-1], path), overwrite=overwrite)
    if html is not None:
        from rheostat.report.page import reading_page

        options.written(html, lambda path: _write_text(path, reading_page(reading, grids)), overwrite=overwrite)


def _write_text(path: Path, text: str) -> None:
    from rheostat.base.files import atomic_file

    with atomic_file(path) as target:
        target.write_text(text, encoding="utf-8")
