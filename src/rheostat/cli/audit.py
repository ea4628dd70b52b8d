"""`rheostat audit`: whether a server's log is what was written."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rheostat.base.errors import BadArgument
from rheostat.cli import options

if TYPE_CHECKING:
    from rheostat.serve.audit import Place

EXAMPLES = {"verify": "Example: rheostat audit verify serve/audit.jsonl --secret serve/secret"}

app = typer.Typer(
    help="Check the audit log of a server.",
    epilog=EXAMPLES["verify"],
    rich_markup_mode=None,
)


@app.callback()
def group() -> None:
    """Check the audit log of a server."""


@app.command(name="verify", epilog=EXAMPLES["verify"])
def verify(
    log: Annotated[Path, typer.Argument(help="The log; its head, LOG.head, lies beside it.")],
    secret: Annotated[
        Path | None, typer.Option(help="The server's secret, to check that the server wrote the head.")
    ] = None,
    witness: Annotated[
        str | None,
        typer.Option(metavar="N:HASH", help="A place that an answer named (rheostat.audit): it must be there."),
    ] = None,
    json: options.JsonOption = False,
) -> None:
    """Check that no line of a log was changed, taken out or put in, and that its end was not cut off.

    Exit code 1 where it was.
    """
    from rheostat.serve import audit
    from rheostat.serve.secret import read_secret

    if secret is not None and not secret.is_file():
        raise BadArgument(f"--secret {secret}: there is no such file.")
    key = None if secret is None else read_secret(secret)
    last = audit.verify(log, key, witness=None if witness is None else _place(witness))
    if json:
        options.print_json({"log": str(log), "lines": last.n, "hash": last.hash})
        return
    print(f"{log}: {last.n} lines, none changed or missing; the last has the hash {last.hash}")


def _place(text: str) -> "Place":
    from rheostat.serve.audit import Place

    found = re.fullmatch(r"(\d+):([0-9a-f]{64})", text)
    if found is None:
        raise BadArgument(f"--witness {text!r}: write N:HASH, as an answer names them in rheostat.audit.")
    return Place(int(found[1]), found[2])
