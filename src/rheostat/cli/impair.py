"""`rheostat impair`: how an ability breaks as a part of the model is damaged."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rheostat.base.errors import BadArgument
from rheostat.cli import damage, options

if TYPE_CHECKING:
    from rheostat.impairment.dial import Dial
    from rheostat.impairment.summary import CurveSummary
    from rheostat.model import Model
    from rheostat.tasks.item import Task

EXAMPLE = (
    "Example: rheostat impair smollm2-135m-instruct --task capitals --mode magnitude --intensities 0.1,0.2,0.4 "
    "--out impaired"
)


def command(
    model: Annotated[str, typer.Argument(help="Built-in name, hub name, folder or .gguf file.")],
    task: Annotated[
        list[str] | None,
        typer.Option(help="A name (an unknown one lists them all), or a file .jsonl. Repeatable. Default: capitals."),
    ] = None,
    mode: damage.ModeOption = "gaussian",
    kind: Annotated[
        str | None,
        typer.Option(
            help="Kind of site, in every block: mlp_in, neurons, mlp_out. Default: mlp_out, or the cluster's."
        ),
    ] = None,
    cluster: Annotated[
        Path | None, typer.Option(help="Damage these units only (a file that `rheostat cluster` wrote).")
    ] = None,
    distribution: damage.DistributionOption = "normal",
    intensities: Annotated[
        str,
        typer.Option(help="Ascending; of noise, in standard deviations of each site; of magnitude, shares."),
    ] = "0.05,0.1,0.2,0.3,0.4,0.6,0.8",
    absolute: Annotated[
        bool, typer.Option("--absolute", help="Intensities of noise are in units of the activation.")
    ] = False,
    draws: damage.DrawsOption = None,
    bound: damage.BoundOption = None,
    seed: options.SeedOption = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for tables, figures and a page.")] = None,
    overwrite: options.OverwriteOption = False,
    json: options.JsonOption = False,
    dtype: options.DtypeOption = "float32",
    device: options.DeviceOption = "cpu",
    attention: options.AttentionOption = None,
) -> None:
    """Damage a model step by step and show how abilities break.

    Shows the share of right answers at each intensity, where it falls below a bound, and where it is half gone.
    """
    given = options.arguments(locals())
    levels = damage.intensities(intensities)
    damage.shares(levels, mode)
    if absolute and mode == "magnitude":
        raise BadArgument("--absolute says nothing with --mode magnitude, which takes a share away. Leave it out.")
    from rheostat.report.folder import record_folder

    if out is not None:
        record_folder(out, overwrite=overwrite, replaces="impair")
    names = list(dict.fromkeys(task or ["capitals"]))
    tasks = [damage.task(one, seed) for one in names]
    from rheostat.impairment.comparison import answered
    from rheostat.impairment.curve import impairment_curves
    from rheostat.impairment.summary import BOUNDS, summarise_curves
    from rheostat.model import load
    from rheostat.report.terminal import frame_table

    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    loaded = load(model, dtype=dtype, device=device, attention=attention)
    dial = _dial(loaded, tasks, mode, kind, cluster, distribution, absolute=absolute)
    dial.check(loaded)
    for one in tasks:
        answered(loaded, one)
    table = impairment_curves(
        loaded,
        tasks,
        {dial.label: dial},
        levels,
        draws=max(map(len, tasks)) if draws is None else draws,
        crossed=draws is not None,
        seed=seed,
    )
    found = summarise_curves(table, bounds=bound or BOUNDS, seed=seed)
    if json:
        options.print_json(found.to_dict())
    else:
        points = found.points[["task", "intensity", "loss", "accuracy", "accuracy_low", "accuracy_high", "n"]]
        options.console().print(frame_table(points, f"{loaded.name}, {dial.label}"))
        options.console().print(frame_table(found.table.drop(columns="dial")))
    if out is not None:
        damage.write_record(
            "impair",
            f"{loaded.name} under damage",
            f"{dial.label}. {_said(found)}",
            out,
            models=[loaded],
            given=given,
            tasks=tasks,
            chosen={
                "kind": dial.kind,
                "cluster": None if dial.cluster is None else dial.cluster.describe(),
                "intensities": levels,
                "bound": list(bound or BOUNDS),
            },
            tables={"quantities": found.table, "points": found.points},
            figures=[found.figure("accuracy"), found.figure("loss")],
            seed=seed,
            started=started,
            seconds=time.monotonic() - clock,
        )


def _dial(
    loaded: "Model",
    tasks: "list[Task]",
    mode: str,
    kind: str | None,
    cluster: Path | None,
    distribution: str,
    *,
    absolute: bool,
) -> "Dial":
    from rheostat.impairment.dial import Dial
    from rheostat.impairment.scale import measure_scale
    from rheostat.neurons.cluster import Cluster
    from rheostat.tasks.item import ask

    units = None if cluster is None else Cluster.load(cluster)
    if units is not None:
        units.check(loaded)
    where = kind or ("mlp_out" if units is None else units.kind)
    scale = None
    if mode != "magnitude" and not absolute:
        rows = ask(loaded, [item for one in tasks for item in one.items]).rows
        scale = measure_scale(loaded, rows, f"blocks.*.{where}")
    return Dial(mode, where, units, distribution=distribution, scale=scale)


def _said(found: "CurveSummary") -> str:
    return (
        "An intensity that is never reached is infinite; thresholds are interpolated linearly. "
        f"Area: the mean share of right answers over intensities {found.over[0]:g} to {found.over[1]:g}."
    )
