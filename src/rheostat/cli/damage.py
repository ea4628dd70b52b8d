"""What `rheostat impair` and `rheostat compare` share: reading tasks and intensities, and writing a record."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rheostat.base.errors import BadArgument

if TYPE_CHECKING:
    import pandas as pd

    from rheostat.base.shapes import Figure
    from rheostat.model import Model
    from rheostat.tasks.item import Task

ModeOption = Annotated[
    Literal["gaussian", "negative", "magnitude"],
    typer.Option(help="gaussian noise, noise that only lowers, or magnitude: shrink the activations."),
]
KindOption = Annotated[str, typer.Option(help="Kind of site, in every block: mlp_in, neurons, mlp_out, attn_out, …")]
DistributionOption = Annotated[
    Literal["normal", "truncated", "uniform"], typer.Option(help="Of the noise; the last two lie in -1 to 1.")
]
DrawsOption = Annotated[
    int | None,
    typer.Option(help="Draws of the noise, each for all items. Default: each item under a draw of its own.", min=1),
]
BoundOption = Annotated[
    list[float] | None, typer.Option("--bound", help="Of the accuracy. Repeatable. Default: 0.9 and 0.5.")
]


def intensities(text: str, option: str = "--intensities") -> list[float]:
    """Read `0.1,0.2,0.5` as intensities from 0 on.

    Raises:
        BadArgument: no such list, or not ascending.
    """
    try:
        levels = [float(part) for part in text.split(",")]
    except ValueError:
        raise BadArgument(f"{option} {text}: numbers with commas between them, such as 0.1,0.2,0.5.") from None
    levels = levels if levels[:1] == [0.0] else [0.0, *levels]
    if len(levels) < 2 or levels != sorted(set(levels)) or not all(0 <= one < float("inf") for one in levels):
        raise BadArgument(f"{option} {text}: ascending, above 0, each once, such as 0.1,0.2,0.5.")
    return levels


def shares(levels: Sequence[float], mode: str) -> None:
    """Refuse shares above 1 in the mode `magnitude`.

    Raises:
        BadArgument
    """
    if mode == "magnitude" and levels[-1] > 1:
        raise BadArgument(f"--intensities up to {levels[-1]:g}: magnitude takes an intensity of 0 to 1, all of it.")


def task(text: str, seed: int) -> "Task":
    """Return a task by name, or of a file NAME.jsonl.

    Raises:
        TaskNotUsable, FileNotUsable, BadArgument
    """
    from rheostat.tasks.named import named_task, read_task

    return read_task(text) if text.endswith(".jsonl") else named_task(text, seed=seed)


def write_record(
    command: str,
    title: str,
    text: str,
    folder: Path,
    *,
    models: Sequence["Model"],
    given: Mapping[str, object],
    tasks: "Sequence[Task]",
    chosen: Mapping[str, object],
    tables: Mapping[str, "pd.DataFrame"],
    figures: Sequence["Figure"],
    seed: int,
    started: str,
    seconds: float,
) -> None:
    """Write tables, figures and a page into a folder that was checked before.

    The record holds every argument of the command, as `chosen` where that says more than what was typed.
    """
    from rheostat.cli import options
    from rheostat.report.folder import write_record as write
    from rheostat.studies.record import Record, Section
    from rheostat.studies.run import versions

    names = tuple(figure.name for figure in figures)
    record = Record(
        study=command,
        title=title,
        source="",
        arguments={
            **given,
            **chosen,
            "task": [one.describe() for one in tasks],
            "attention": [model.attention for model in models],
        },
        seed=seed,
        models=tuple(model.describe() for model in models),
        versions=versions(),
        started=started,
        seconds=seconds,
        sections=(Section(title, text, names, tuple(tables)),),
        tables=dict(tables),
        figures={figure.name: figure for figure in figures},
    )
    write(record, folder, overwrite=True)
    options.note(f"wrote {folder / 'index.html'}")
