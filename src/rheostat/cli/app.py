"""The commands, put together. Importing it loads typer, and nothing that computes."""

from typing import Annotated

import typer

from rheostat import __version__
from rheostat.cli import (
    audit,
    check,
    claims,
    cluster,
    compare,
    demo,
    directions,
    evaluate,
    generate,
    impair,
    keys,
    lens,
    models,
    patch,
    read,
    run,
    runs,
    serve,
    sites,
    steer,
    studies,
    task_vector,
    trace,
)

app = typer.Typer(
    name="rheostat",
    help="Read what a network is thinking, turn any part of it up or down, and measure what changed.",
    epilog='Example: rheostat lens "The capital of Germany is"',
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: twice as fast, and lines that can be copied
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> bool:
    if asked:
        print(f"rheostat {__version__}")
        raise typer.Exit
    return asked


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
]


@app.callback()
def common(version: VersionOption = False) -> None:
    """Take the options that stand before the command."""


for module in (
    lens,
    generate,
    directions,
    task_vector,
    read,
    steer,
    patch,
    trace,
    cluster,
    impair,
    compare,
    demo,
    run,
    studies,
    models,
    sites,
    check,
    claims,
    serve,
):
    name = module.__name__.rpartition(".")[2].replace("_", "-")
    app.command(name=name, epilog=module.EXAMPLE)(module.command)

for group in (evaluate, runs, keys, audit):
    app.add_typer(group.app, name=group.__name__.rpartition(".")[2])
