"""`rheostat keys`: who may ask a server, and what."""

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rheostat.base.errors import BadArgument
from rheostat.cli import options
from rheostat.cli.serve import ConfigOption, FolderOption, read

if TYPE_CHECKING:
    from rheostat.serve.keys import Key

EXAMPLES = {
    "create": "Example: rheostat keys create institute --floor 0.6 --draws 5",
    "list": "Example: rheostat keys list --json",
    "change": "Example: rheostat keys change 1f2e3d4c --rate 120 --logits",
    "floor": "Example: rheostat keys floor 1f2e3d4c 0.5",
    "revoke": "Example: rheostat keys revoke 1f2e3d4c",
}

IdArgument = Annotated[str, typer.Argument(help="An id from `rheostat keys list`.")]
EndpointOption = Annotated[
    list[str] | None,
    typer.Option("--endpoint", help="An endpoint that it may ask: completions, chat, lens, metrics. Repeatable."),
]
SiteOption = Annotated[
    list[str] | None,
    typer.Option("--site", help="Sites that it may edit and read: a name, a pattern, or * for all. Repeatable."),
]
DirectionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--direction",
        help="Directions of the server that it may steer by: a name, a pattern, or * for all. Repeatable.",
    ),
]
LogitsOption = Annotated[bool | None, typer.Option("--logits/--no-logits", help="Whether it may see probabilities.")]
ActivationsOption = Annotated[
    bool | None, typer.Option("--activations/--no-activations", help="Whether it may see what activations decode to.")
]
RateOption = Annotated[int | None, typer.Option(help="Requests a minute. Default of a new key: 60.")]
TokensOption = Annotated[int | None, typer.Option("--tokens", help="Tokens a day. Default of a new key: 1000000.")]
ConcurrencyOption = Annotated[int | None, typer.Option(help="Requests at the same time. Default of a new key: 4.")]
DrawsOption = Annotated[int | None, typer.Option(help="Independent draws of the noise. Default of a new key: 1.")]

app = typer.Typer(
    help="Create, list, change and revoke the keys of a server.",
    epilog=EXAMPLES["create"],
    rich_markup_mode=None,
)


@app.command(name="create", epilog=EXAMPLES["create"])
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, for people.")],
    floor: Annotated[float, typer.Option(help="The least impairment that it may ask for, 0 to 1.")],
    endpoint: EndpointOption = None,
    site: SiteOption = None,
    direction: DirectionOption = None,
    logits: LogitsOption = None,
    activations: ActivationsOption = None,
    rate: RateOption = None,
    tokens: TokensOption = None,
    concurrency: ConcurrencyOption = None,
    draws: DrawsOption = None,
    config: ConfigOption = None,
    folder: FolderOption = None,
    json: options.JsonOption = False,
) -> None:
    """Make a key, and print it: once, for it is kept nowhere.

    Without --endpoint it may ask completions and chat; without --site it may edit and read nothing, without
    --direction steer by none of the server's.
    """
    from rheostat.serve.keys import Grants

    given = _given(endpoint, site, direction, logits, activations, rate, tokens, concurrency, draws)
    with closing(_Office(config, folder)) as office:
        key, text = office.book.create(Grants(name=name, floor=floor, **given))
        office.record("key created", key)
    if json:
        options.print_json({**asdict(key), "key": text})
        return
    print(text)
    options.note(f"the key {key.id} of {name}, floor {floor:g}; keep it: it is not shown again")


@app.command(name="list", epilog=EXAMPLES["list"])
def list_keys(config: ConfigOption = None, folder: FolderOption = None, json: options.JsonOption = False) -> None:
    """List the keys with what they may do; none can be read back."""
    with closing(_Office(config, folder)) as office:
        rows = [{**asdict(key), "tokens_used_today": office.book.used_today(key)} for key in office.book.all()]
    if json:
        options.print_json(rows)
        return
    if not rows:
        options.note("there are no keys. rheostat keys create NAME --floor 0.5 makes one.")
        return
    import pandas as pd

    from rheostat.report.terminal import frame_table

    table = pd.DataFrame([{name: _shown(value) for name, value in row.items()} for row in rows])
    first = ["id", "name", "floor", "revoked"]
    options.console().print(frame_table(table[[*first, *(name for name in table.columns if name not in first)]]))


@app.command(name="change", epilog=EXAMPLES["change"])
def change(
    key_id: IdArgument,
    floor: Annotated[float | None, typer.Option(help="The least impairment that it may ask for, 0 to 1.")] = None,
    endpoint: EndpointOption = None,
    site: SiteOption = None,
    direction: DirectionOption = None,
    logits: LogitsOption = None,
    activations: ActivationsOption = None,
    rate: RateOption = None,
    tokens: TokensOption = None,
    concurrency: ConcurrencyOption = None,
    draws: DrawsOption = None,
    config: ConfigOption = None,
    folder: FolderOption = None,
    json: options.JsonOption = False,
) -> None:
    """Change what a key may do; a running server obeys at once.

    Endpoints, sites and directions that are given take the place of those that it had.
    """
    given = _given(endpoint, site, direction, logits, activations, rate, tokens, concurrency, draws)
    if floor is not None:
        given["floor"] = floor
    if not given:
        raise BadArgument("nothing to change. Give --floor, --rate, --site or another grant.")
    _changed(key_id, given, config, folder, json=json)


@app.command(name="floor", epilog=EXAMPLES["floor"])
def floor_of(
    key_id: IdArgument,
    floor: Annotated[float, typer.Argument(help="The least impairment that it may ask for, 0 to 1.")],
    config: ConfigOption = None,
    folder: FolderOption = None,
    json: options.JsonOption = False,
) -> None:
    """Raise or lower the floor of a key, as one stage of an evaluation follows another.

    What runs below a raised floor is stopped.
    """
    _changed(key_id, {"floor": floor}, config, folder, json=json)


@app.command(name="revoke", epilog=EXAMPLES["revoke"])
def revoke(
    key_id: IdArgument, config: ConfigOption = None, folder: FolderOption = None, json: options.JsonOption = False
) -> None:
    """End a key for good; what it is being answered is stopped."""
    with closing(_Office(config, folder)) as office:
        key = office.book.revoke(key_id)
        office.record("key revoked", key)
    _print(key, json=json)


class _Office:
    """The keys of a server, and the log in which every change of them is recorded."""

    def __init__(self, config: Path | None, folder: Path | None) -> None:
        from rheostat.serve.audit import AuditLog
        from rheostat.serve.keys import KeyBook
        from rheostat.serve.secret import read_secret

        settings = read(config, folder=folder)
        self._audit = AuditLog(settings.audit_path, read_secret(settings.secret_path))
        self.book: KeyBook = KeyBook(settings.keys_path)

    def record(self, event: str, key: "Key") -> None:
        """Write what a key may do now."""
        self._audit.append(event, key=key.id, grants={n: v for n, v in asdict(key).items() if n != "id"})

    def close(self) -> None:
        """Close the files."""
        self.book.close()


def _changed(key_id: str, given: dict[str, Any], config: Path | None, folder: Path | None, *, json: bool) -> None:
    with closing(_Office(config, folder)) as office:
        key = office.book.change(key_id, **given)
        office.record("key changed", key)
    _print(key, json=json)


def _given(
    endpoints: list[str] | None,
    sites: list[str] | None,
    directions: list[str] | None,
    logits: bool | None,
    activations: bool | None,
    rate: int | None,
    tokens: int | None,
    concurrency: int | None,
    draws: int | None,
) -> dict[str, Any]:
    """Return the grants that were typed."""
    named = {
        "endpoints": None if endpoints is None else tuple(endpoints),
        "sites": None if sites is None else tuple(sites),
        "directions": None if directions is None else tuple(directions),
        "logits": logits,
        "activations": activations,
        "rate": rate,
        "tokens_per_day": tokens,
        "concurrency": concurrency,
        "draws": draws,
    }
    return {name: value for name, value in named.items() if value is not None}


def _print(key: "Key", *, json: bool) -> None:
    if json:
        options.print_json(asdict(key))
        return
    for name, value in asdict(key).items():
        print(f"{name}: {_shown(value)}")


def _shown(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else "" if value is None else value
