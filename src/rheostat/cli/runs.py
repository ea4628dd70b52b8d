"""`rheostat runs`: what the stores hold, and how to get it out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rheostat.base.errors import FileNotUsable
from rheostat.cli import options

if TYPE_CHECKING:
    from rheostat.store.store import StoredRun

EXAMPLES = {
    "list": "Example: rheostat runs list",
    "show": "Example: rheostat runs show 1 --rows 40",
    "export": "Example: rheostat runs export 1 patch.parquet",
    "remove": "Example: rheostat runs remove 1",
}

RunArgument = Annotated[int, typer.Argument(help="A number from `rheostat runs list`.")]
StoreOption = Annotated[Path, typer.Option(help="The store's file.")]
DEFAULT = Path("runs/store.sqlite")

app = typer.Typer(
    help="List, show, export and remove stored runs.",
    epilog=EXAMPLES["list"],
    rich_markup_mode=None,
)


@app.command(name="list", epilog=EXAMPLES["list"])
def list_runs(
    stores: Annotated[
        list[Path] | None, typer.Argument(help="Stores, or folders of them (*.sqlite). Default: runs.")
    ] = None,
    json: options.JsonOption = False,
) -> None:
    """List the runs of one or several stores.

    With how many of their results are there. A store that is damaged is named on stderr, the others are listed; exit
    code 2.
    """
    from rheostat.store.store import Store, store_files

    rows, damaged = [], []
    for path in store_files(stores or [DEFAULT.parent]):
        try:
            with Store(path, read_only=True) as store:
                rows += [(path, run) for run in store.runs()]
        except FileNotUsable as error:
            damaged.append(f"FileNotUsable: {error}")
    if json:
        options.print_json([{"store": str(path), **_line(run)} for path, run in rows])
    else:
        _print_table(rows)
    for message in damaged:
        options.note(message)
    raise typer.Exit(FileNotUsable.exit_code if damaged else 0)


@app.command(name="show", epilog=EXAMPLES["show"])
def show(
    run: RunArgument,
    store: StoreOption = DEFAULT,
    rows: Annotated[int, typer.Option(help="How many rows of its table to print.", min=0)] = 20,
    json: options.JsonOption = False,
) -> None:
    """Show a run: what it was asked to do, and its table.

    With --json every row is printed.
    """
    from rheostat.store.store import Store
    from rheostat.store.table import run_table

    with Store(store, read_only=True) as opened:
        found, table = opened.run(run), run_table(opened, run)
    if json:
        options.print_json({**_line(found), "arguments": found.arguments, "table": table.to_dict("records")})
        return
    from rheostat.report.terminal import frame_table

    for name, value in {**_line(found), "arguments": found.arguments}.items():
        print(f"{name}: {value}")
    if rows and len(table):
        options.console().print(frame_table(table.head(rows)))
    if len(table) > rows:
        options.note(
            f"{len(table) - rows} more rows; --rows {len(table)} prints all, `rheostat runs export` writes them"
        )


@app.command(name="export", epilog=EXAMPLES["export"])
def export(
    run: RunArgument,
    out: Annotated[Path, typer.Argument(help="Write here (.parquet or .csv).")],
    store: StoreOption = DEFAULT,
    overwrite: options.OverwriteOption = False,
) -> None:
    """Write the table of a run as Parquet or CSV.

    A run that is not finished is written as far as it is, with a remark on stderr.
    """
    from rheostat.store.store import Store
    from rheostat.store.table import SUFFIXES, export_table, run_table

    options.check_output("OUT", out, *SUFFIXES, overwrite=overwrite)
    with Store(store, read_only=True) as opened:
        found, table = opened.run(run), run_table(opened, run)
    export_table(table, out, overwrite=overwrite)
    options.note(f"wrote {out}")
    if found.n_done < found.n_wanted:
        options.note(f"run {run} is not finished: {found.n_done} of {found.n_wanted} results are there")


@app.command(name="remove", epilog=EXAMPLES["remove"])
def remove(
    run: RunArgument,
    store: StoreOption = DEFAULT,
    json: options.JsonOption = False,
) -> None:
    """Remove a run, with the results that no other run asks for."""
    from rheostat.store.store import Store

    with Store(store, read_only=True) as opened:  # a mistyped name must not create a store
        opened.run(run)
    with Store(store) as opened:
        n_results = opened.remove(run)
    if json:
        options.print_json({"run": run, "results": n_results})
    else:
        print(f"removed run {run} and {n_results} results that no other run asks for")


def _line(run: "StoredRun") -> dict[str, object]:
    """Return what is said of a run in one line."""
    return {
        "run": run.id,
        "name": run.name,
        "started": run.started,
        "done": run.n_done,
        "wanted": run.n_wanted,
        "labels": run.labels,
    }


def _print_table(runs: "list[tuple[Path, StoredRun]]") -> None:
    import pandas as pd

    from rheostat.report.terminal import frame_table

    rows = [
        {
            "store": str(path),
            "run": run.id,
            "name": run.name,
            "started": run.started,
            "done": f"{run.n_done} / {run.n_wanted}",
            "labels": ", ".join(f"{name}={value}" for name, value in run.labels.items()),
        }
        for path, run in runs
    ]
    options.console().print(frame_table(pd.DataFrame(rows)))
