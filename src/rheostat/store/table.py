"""What a stored run has so far, as a table, and as a Parquet or CSV file."""

from pathlib import Path

import pandas as pd
import pyarrow

from rheostat.base.errors import BadArgument
from rheostat.base.files import atomic_file, output_path
from rheostat.store.store import Store

SUFFIXES = (".parquet", ".csv")


def run_table(store: Store, number: int) -> pd.DataFrame:
    """Return the labels and `value` of the results that a run has so far, one row each, in the run's own order.

    Results of several numbers have columns `value_0`, `value_1`, … instead, NaN where one has fewer.

    Raises:
        RunNotFound: there is no run of this number.
        FileNotUsable: the store is damaged.
    """
    rows = store.rows(number)
    most = max((len(numbers) for _, numbers in rows), default=1)
    names = ["value"] if most == 1 else [f"value_{index}" for index in range(most)]
    records = [labels | dict(zip(names, numbers, strict=False)) for labels, numbers in rows]
    return pd.DataFrame(records, columns=None if records else names)


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
