"""`rheostat compare`: which of two models stands more damage on a task that both do perfectly."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rheostat.cli import damage, options

if TYPE_CHECKING:
    import pandas as pd

    from rheostat.impairment.comparison import Comparison

EXAMPLE = (
    "Example: rheostat compare smollm2-135m-instruct gemma3-270m --task capitals --intensities 0.1,0.2,0.4 "
    "--out compared"
)


def command(
    model_a: Annotated[str, typer.Argument(help="Built-in name, hub name, folder or .gguf file.")],
    model_b: Annotated[str, typer.Argument(help="Another; the same one again is the control, with noise of its own.")],
    task: Annotated[str, typer.Option(help="A name (an unknown one lists them all), or a file .jsonl.")] = "capitals",
    mode: damage.ModeOption = "gaussian",
    kind: damage.KindOption = "mlp_out",
    distribution: damage.DistributionOption = "normal",
    intensities: Annotated[
        str, typer.Option(help="Ascending; of noise, in standard deviations of each site; of magnitude, shares.")
    ] = "0.0125,0.025,0.05,0.1,0.2,0.4,0.8",
    absolute: Annotated[
        str | None,
        typer.Option(help="Intensities of the absolute dose. Default: those times both models' typical spread."),
    ] = None,
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
    """Compare how much damage two models stand.

    Only the items that both intact models answer rightly are asked, so both start at 1. Noise is dosed relative to each
    site's own spread, to every unit's own, and in units of the activation; these may name different models.
    """
    given = options.arguments(locals())
    levels = damage.intensities(intensities)
    damage.shares(levels, mode)
    absolute_levels = None if absolute is None else damage.intensities(absolute, "--absolute")
    from rheostat.report.folder import record_folder

    if out is not None:
        record_folder(out, overwrite=overwrite, replaces="compare")
    asked = damage.task(task, seed)
    from rheostat.impairment.comparison import compare_models
    from rheostat.impairment.summary import BOUNDS
    from rheostat.model import load
    from rheostat.report.terminal import frame_table

    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    models = [load(name, dtype=dtype, device=device, attention=attention) for name in (model_a, model_b)]
    found = compare_models(
        models[0],
        models[1],
        asked,
        levels,
        mode=mode,
        kind=kind,
        distribution=distribution,
        absolute=absolute_levels,
        draws=draws,
        bounds=bound or BOUNDS,
        seed=seed,
    )
    if json:
        options.print_json(found.to_dict())
    else:
        options.console().print(frame_table(_shown(found), f"{asked.name} under damage: {' and '.join(found.models)}"))
        print(_said(found))
    if out is not None:
        damage.write_record(
            "compare",
            f"{' and '.join(found.models)} under damage, {asked.name}",
            _said(found),
            out,
            models=models,
            given=given,
            tasks=[asked],
            chosen={"intensities": levels, "absolute": absolute_levels, "bound": list(bound or BOUNDS)},
            tables={"differences": found.table, "control": found.control, "points": found.points},
            figures=[found.figure(dose) for dose in found.curves],
            seed=seed,
            started=started,
            seconds=time.monotonic() - clock,
        )


def _shown(found: "Comparison") -> "pd.DataFrame":
    """Return the table for a terminal."""
    columns = ["dose", "quantity", "first", "second", "difference", "low", "high", "sturdier"]
    return found.table[columns].rename(columns={"first": found.models[0], "second": found.models[1]})


def _said(found: "Comparison") -> str:
    agree = "one unit" if len(found.curves) == 1 else "agree" if found.doses_agree else "differ"
    verdict = {
        "one unit": "The dose has one unit.",
        "agree": "All units of the dose say the same.",
        "differ": "The units of the dose do not say the same.",
    }[agree]
    spanning = (found.control["low"] <= 0) & (found.control["high"] >= 0)
    return (
        f"{found.n_asked} items asked; right when intact: {found.models[0]} {found.n_right[0]}, {found.models[1]} "
        f"{found.n_right[1]}; kept, because both are right: {found.n_kept}. {verdict} Control, each model against "
        f"itself, half of the items against the other: {int(spanning.sum())} of {len(spanning)} intervals of the "
        "difference include 0."
    )
