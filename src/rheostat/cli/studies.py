"""`rheostat studies`: the experiments that ship."""

from rheostat.cli import options

EXAMPLE = "Example: rheostat studies"


def command(json: options.JsonOption = False) -> None:
    """List the studies."""
    import pandas as pd

    from rheostat.studies.catalogue import STUDIES

    rows = [
        {"name": card.name, "title": card.title, "source": card.source, "minutes (full / quick)": card.minutes}
        for card in STUDIES.values()
    ]
    if json:
        options.print_json(rows)
        return
    from rheostat.report.terminal import frame_table

    options.console().print(frame_table(pd.DataFrame(rows)))
