"""`rheostat check`: does the anatomy hold?"""

from typing import Annotated

import typer

from rheostat.cli import options

EXAMPLE = "Example: rheostat check smollm2-135m-instruct --dtype float64"


def command(
    model: Annotated[
        str, typer.Argument(help="Built-in name, hub name, folder or .gguf file.")
    ] = options.DEFAULT_MODEL,
    prompt: Annotated[str | None, typer.Option(help="The text to run; default: a short sentence.")] = None,
    json: options.JsonOption = False,
    dtype: options.DtypeOption = "float32",
    device: options.DeviceOption = "cpu",
    attention: options.AttentionOption = None,
) -> None:
    """Verify that the parts of a model add up.

    Prints the largest error of each identity; exit code 1 if one does not hold.
    """
    from rheostat.model import load

    loaded = load(model, dtype=dtype, device=device, attention=attention)
    found = loaded.check(prompt)
    if json:
        options.print_json(
            {
                "model": loaded.name,
                "holds": found.holds,
                "tolerance": found.tolerance,
                "rows": found.table.to_dict("records"),
            }
        )
    else:
        from rheostat.report.terminal import frame_table

        options.console().print(frame_table(found.table, title=str(loaded)))
        verdict = "holds" if found.holds else "FAILS"
        print(f"{verdict}: largest relative error {found.worst:.2g}, tolerance {found.tolerance:.0e} in {dtype}")
    raise typer.Exit(0 if found.holds else 1)
