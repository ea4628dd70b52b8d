"""`rheostat run`: execute a study."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rheostat.cli import options

if TYPE_CHECKING:
    from rheostat.studies.record import Verdict

EXAMPLE = "Example: rheostat run decoding --quick --out runs/decoding-quick"


def command(
    study: Annotated[str, typer.Argument(help="A name from `rheostat studies`.")],
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Repeatable. Default: the built-in models, or those that the study trains."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer prompts, the default model only.")] = False,
    seed: options.SeedOption = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run. Default: runs/STUDY or runs/STUDY-quick.")
    ] = None,
    overwrite: options.OverwriteOption = False,
    json: options.JsonOption = False,
) -> None:
    """Execute a study and write its record.

    The record holds tables, figures, verdicts and an HTML page. An interrupted run goes on where it stopped when the
    same command is typed again.
    """
    from rheostat.report.folder import record_folder, write_record
    from rheostat.report.terminal import verdict_table
    from rheostat.studies.run import card_of, run_study

    card_of(study)
    folder = out or Path("runs") / (f"{study}-quick" if quick else study)
    record_folder(folder, overwrite=overwrite)
    record = run_study(study, folder=folder, models=model, quick=quick, seed=seed)
    write_record(record, folder, overwrite=True)
    if json:
        options.print_json(
            {"folder": str(folder), "seconds": record.seconds, "verdicts": [_verdict(one) for one in record.verdicts]}
        )
    else:
        options.console().print(verdict_table(record.verdicts))
    options.note(f"wrote {folder / 'index.html'} in {record.seconds:.0f} s")


def _verdict(verdict: "Verdict") -> dict[str, object]:
    return asdict(verdict)
