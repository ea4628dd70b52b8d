"""`rheostat serve`: answer over HTTP, under an impairment."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rheostat.base.errors import BadArgument
from rheostat.cli import options

if TYPE_CHECKING:
    from rheostat.serve.settings import Settings

EXAMPLE = "Example: rheostat serve --config serve.toml"

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="A TOML file of settings.")]
FolderOption = Annotated[
    Path | None, typer.Option(help="Where keys, audit log and secret lie. Default: serve, or what the settings say.")
]


def command(
    config: ConfigOption = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help=f"Built-in name, hub name, folder or file. Default: {options.DEFAULT_MODEL}."
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen at. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0: any free one. Default: 8765.", min=0, max=65535)] = None,
    folder: FolderOption = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Be reached from other machines without encryption.")
    ] = False,
) -> None:
    """Serve a model over HTTP, with a dial that impairs it.

    Options given here go before the settings of the file. Keys are made with `rheostat keys create`.
    """
    from rheostat.serve.extra import check_installed

    check_installed()
    settings = read(config, folder=folder, model=model, host=host, port=port)
    settings.check_host(insecure=insecure)
    from rheostat.model import load
    from rheostat.serve.server import check_free, serve

    check_free(settings.host, settings.port)
    loaded = load(settings.model, dtype=settings.dtype, device=settings.device, attention=settings.attention)

    def say(url: str) -> None:
        options.note(f"serving {loaded.name} at {url}; Ctrl-C ends")

    serve(loaded, settings, insecure=insecure, on_ready=say)


def read(config: Path | None, *, folder: Path | None, **changes: object) -> "Settings":
    """Return settings from a file, or the defaults, with what was typed before them.

    Raises:
        FileNotUsable, BadArgument
    """
    from rheostat.serve.settings import Settings, read_settings

    found = Settings() if config is None else read_settings(config)
    typed = {name: value for name, value in {**changes, "folder": folder}.items() if value is not None}
    if "host" in typed and not str(typed["host"]):
        raise BadArgument("--host: an address, such as 127.0.0.1.")
    return found.model_copy(update=typed)
