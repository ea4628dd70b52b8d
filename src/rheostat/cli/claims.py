"""`rheostat claims`: the table of verdicts, from records."""

from pathlib import Path
from typing import Annotated

import typer

from rheostat.cli import options

EXAMPLE = "Example: rheostat claims runs/decoding --out claims.md"


def command(
    records: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    out: Annotated[Path | None, typer.Option(help="Write here (.md) instead of stdout.")] = None,
    overwrite: options.OverwriteOption = False,
) -> None:
    """Write the table of claims and verdicts.

    Claims without a record are shown as not run.
    """
    options.check_output("--out", out, ".md", overwrite=overwrite)
    from rheostat.report.claims import claims_markdown
    from rheostat.report.folder import read_record
    from rheostat.studies.run import all_claims

    text = claims_markdown([read_record(folder, tables=False) for folder in records], all_claims())
    if out is None:
        print(text)
    else:
        options.write(out, text, overwrite=overwrite)
