"""`rheostat sites`: the places that can be read and edited."""

from typing import Annotated

import typer

from rheostat.cli import options

EXAMPLE = "Example: rheostat sites smollm2-135m-instruct"


def command(
    model: Annotated[
        str, typer.Argument(help="Built-in name, hub name, folder or .gguf file.")
    ] = options.DEFAULT_MODEL,
    every: Annotated[bool, typer.Option("--all", help="One line per site instead of one per kind.")] = False,
    json: options.JsonOption = False,
) -> None:
    """List the places of a model that can be read and edited.

    Each with its shape; kinds that its family does not offer stand there with the reason.
    """
    from rheostat.model import load

    loaded = load(model)
    table = loaded.site_table(every=every)
    if json:
        options.print_json(table.to_dict("records"))
        return
    from rheostat.report.terminal import frame_table

    options.console().print(frame_table(table, title=str(loaded)))
