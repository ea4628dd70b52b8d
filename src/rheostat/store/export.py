"""A run's table as a file: Parquet or CSV."""

from pathlib import Path

import pandas as pd
import pyarrow

from rheostat.base.errors import BadArgument
from rheostat.base.files import atomic_file, output_path

SUFFIXES = (".parquet", ".csv")


def export_table(table: pd.DataFrame, path: Path, *, overwrite: bool = False) -> None:
    """Write a table as `.parquet` or `.csv`, by its name, whole or not at all.

    Raises:
        BadArgument: another suffix, or a column of several types, which Parquet cannot hold.
        WouldOverwrite: the file exists and `overwrite` is false.
        FileNotUsable: it cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise BadArgument(f"{path}: give a name that ends in {' or '.join(SUFFIXES)}.")
    with atomic_file(output_path(path, overwrite=overwrite)) as target:
        if path.suffix.lower() == ".csv":
            table.to_csv(target, index=False, lineterminator="\n")
            return
        try:
            table.to_parquet(target, engine="pyarrow", index=False)
        except (pyarrow.ArrowException, TypeError) as error:
            raise BadArgument(f"{path}: a column holds several types ({error}). Export it as .csv.") from error
