"""`rheostat lens`: what each block reads."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rheostat.base.files import output_path
from rheostat.cli import options

if TYPE_CHECKING:
    import pandas as pd

    from rheostat.base.shapes import Grid
    from rheostat.lenses.reading import Reading

COLUMNS = ["block", "point", "position", "token", "probability", "rank"]
"""What --json prints of each row."""

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
    factor: options.FactorOption = None,
    mix_kind: options.MixKindOption = None,
    at: options.AtOption = None,
    json: options.JsonOption = False,
    csv: Annotated[Path | None, typer.Option(help="Write the rows here (.csv).")] = None,
    png: Annotated[
        Path | None,
        typer.Option(help="Write the picture here (.png). With --track, NAME-tracked.png shows the tracked token."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page here (.html).")] = None,
    overwrite: options.OverwriteOption = False,
    dtype: options.DtypeOption = "float32",
    device: options.DeviceOption = "cpu",
    attention: options.AttentionOption = None,
) -> None:
    """Read a prompt with the logit lens, block by block.

    The points: attention output, residual stream after it, MLP output, block output.
    The rows of --json and --csv are the likeliest tokens, then the tracked ones that are not among them.
    """
    tracked = tuple(dict.fromkeys(track or ()))
    options.check_output("--csv", csv, ".csv", overwrite=overwrite)
    options.check_output("--png", png, ".png", overwrite=overwrite)
    options.check_output("--html", html, ".html", ".htm", overwrite=overwrite)
    pictures = _pictures(png, len(tracked))
    for picture in pictures:
        output_path(picture, overwrite=overwrite)
    from rheostat.model import load

    plan = options.edits(edit, replace, mix, factor=factor, mix_kind=mix_kind, at=at)
    loaded = load(model, dtype=dtype, device=device, attention=attention)
    reading = loaded.lens(prompt, positions=options.positions(position), k=k, track=tracked, edits=plan)
    grids = [reading.grid(), *(reading.grid(track=token) for token in tracked)]
    if json:
        options.print_json(_rows(reading)[COLUMNS].to_dict("records"))
    else:
        from rheostat.report.terminal import grid_table

        for grid in grids:
            options.console().print(grid_table(grid))
        n_read = reading.final["position"].nunique()
        if n_read > 1:
            options.note(f"{n_read} tokens were read; shown is the last of them. --json and --csv hold all.")
    _write_files(reading, grids, csv, pictures, html, overwrite=overwrite)


def _pictures(png: Path | None, n_tracked: int) -> list[Path]:
    """Return one name per grid: the top tokens, then each tracked token."""
    if png is None:
        return []
    ends = ["", "-tracked", *(f"-tracked-{number}" for number in range(2, n_tracked + 1))]
    return [png.with_stem(png.stem + end) for end in ends[: n_tracked + 1]]


def _rows(reading: "Reading") -> "pd.DataFrame":
    """Return the likeliest tokens, then the tracked ones that are not among them."""
    import pandas as pd

    if reading.tracked.empty:
        return reading.table
    both = pd.concat([reading.table, reading.tracked], ignore_index=True)
    return both.drop_duplicates(["block", "point", "position", "token_id"])


def _write_files(
    reading: "Reading",
    grids: "list[Grid]",
    csv: Path | None,
    pictures: list[Path],
    html: Path | None,
    *,
    overwrite: bool,
) -> None:
    if csv is not None:
        options.write(csv, _rows(reading).to_csv(index=False, lineterminator="\n"), overwrite=overwrite)
    for picture, grid in zip(pictures, grids, strict=False):  # no pictures, or one per grid
        from rheostat.report.figures import png

        options.write(picture, png(grid), overwrite=overwrite)
    if html is not None:
        from rheostat.report.page import reading_page

        options.write(html, reading_page(reading, grids), overwrite=overwrite)
