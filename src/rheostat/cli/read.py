"""`rheostat read`: how much of a concept each token holds, at every block."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rheostat.base.errors import BadArgument
from rheostat.cli import options

if TYPE_CHECKING:
    import pandas as pd

    from rheostat.base.shapes import Grid, TokenStrip
    from rheostat.directions.scores import ConceptReading

COLUMNS = ["site", "block", "position", "token", "score"]
"""What --json and --csv give of each row, with --threshold also `above`."""

EXAMPLE = 'Example: rheostat read "Lyon is a city in France." --direction truth.safetensors --block 18 --html read.html'


def command(
    text: Annotated[str, typer.Argument(help="The text to read.")],
    direction: Annotated[
        Path, typer.Option(help="Directions (.safetensors) that `rheostat directions` or Directions.save wrote.")
    ],
    block: Annotated[
        str | None,
        typer.Option(
            help="Whose scores colour the tokens, and whose rows --json and --csv give: a block, or first:last for "
            "a mean. Default: all."
        ),
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Mark tokens whose score lies above.")] = None,
    model: options.ModelOption = options.DEFAULT_MODEL,
    json: options.JsonOption = False,
    csv: Annotated[Path | None, typer.Option(help="Write the rows here (.csv).")] = None,
    png: Annotated[
        Path | None, typer.Option(help="Write the coloured tokens here (.png); NAME-map.png shows every block.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page here (.html).")] = None,
    overwrite: options.OverwriteOption = False,
    dtype: options.DtypeOption = "float32",
    device: options.DeviceOption = "cpu",
    attention: options.AttentionOption = None,
) -> None:
    """Show how much of a concept each token holds.

    Scores are calibrated: +1 is the mean of the texts with more of the concept, -1 that of the texts with less.
    Shows the text in coloured tokens; page and pictures also show every token at every block.
    """
    options.check_output("--csv", csv, ".csv", overwrite=overwrite)
    options.check_output("--png", png, ".png", overwrite=overwrite)
    options.check_output("--html", html, ".html", ".htm", overwrite=overwrite)
    picture = None if png is None else png.with_stem(f"{png.stem}-map")
    options.check_output("--png", picture, ".png", overwrite=overwrite)
    blocks = _blocks(block)
    from rheostat.directions.directions import Directions
    from rheostat.directions.scores import read_concept
    from rheostat.model import load

    directions = Directions.load(direction)
    reading = read_concept(load(model, dtype=dtype, device=device, attention=attention), directions, text)
    strip, grid = reading.strip(blocks, threshold=threshold), reading.grid()
    rows = _rows(reading, blocks, threshold)
    if json:
        options.print_json(rows.astype({"block": object}).to_dict("records"))
    else:
        from rheostat.report.terminal import StripText

        options.console().print(StripText(strip))
    _write_files(reading, rows, strip, grid, csv=csv, png=png, picture=picture, html=html, overwrite=overwrite)


def _blocks(text: str | None) -> int | range | None:
    """Read `18` or `10:20`, both ends included."""
    if text is None:
        return None
    first, colon, last = text.partition(":")
    if not first.isdigit() or (colon and not last.isdigit()) or (colon and int(last) < int(first)):
        raise BadArgument(f"--block {text}: a block such as 18, or a band such as 10:20 with both ends.")
    return range(int(first), int(last) + 1) if colon else int(first)


def _rows(reading: "ConceptReading", blocks: int | range | None, threshold: float | None) -> "pd.DataFrame":
    """Return the rows of the blocks asked for, and which of their scores lie above the threshold, if there is one."""
    table = reading.table[COLUMNS]
    if blocks is not None:
        table = table[table["block"].isin([blocks] if isinstance(blocks, int) else blocks)]
    return table if threshold is None else table.assign(above=table["score"] > threshold)


def _write_files(
    reading: "ConceptReading",
    rows: "pd.DataFrame",
    strip: "TokenStrip",
    grid: "Grid",
    *,
    csv: Path | None,
    png: Path | None,
    picture: Path | None,
    html: Path | None,
    overwrite: bool,
) -> None:
    if csv is not None:
        options.write(csv, rows.to_csv(index=False, lineterminator="\n"), overwrite=overwrite)
    for path, figure in ((png, strip), (picture, grid)):
        if path is not None:
            from rheostat.report.figures import png as drawn

            options.write(path, drawn(figure), overwrite=overwrite)
    if html is not None:
        from rheostat.report.page import page

        content = page(
            f"How much {reading.concept} {reading.model} reads",
            intro="Each token is coloured by its score: +1 is the mean of the texts with more of the concept, −1 that "
            "of the texts with less. The number below a token is its score.",
            figures={strip.name: strip, grid.name: grid},
            tables={"scores": reading.table[COLUMNS]},
        )
        options.write(html, content, overwrite=overwrite)
