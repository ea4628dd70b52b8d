"""`rheostat models`: the built-in models."""

from rheostat.cli import options

EXAMPLE = "Example: rheostat models --json"


def command(json: options.JsonOption = False) -> None:
    """List the built-in models.

    With size, licence and whether they are cached.
    """
    import pandas as pd

    from rheostat.models.zoo import BUILT_INS

    rows = [
        {
            "name": model.name,
            "parameters": model.parameters,
            "licence": model.licence,
            "download (MB)": model.download_mb,
            "cache (MB)": model.cache_mb,
            "cached": "yes" if model.is_cached else "no",
            "description": model.description,
        }
        for model in BUILT_INS.values()
    ]
    if json:
        options.print_json(rows)
        return
    from rheostat.report.terminal import frame_table

    options.console().print(frame_table(pd.DataFrame(rows)))
