"""`summarise`: means over prompts, with intervals, of a table that holds a value per prompt."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rheostat.base.errors import BadArgument
from rheostat.base.names import did_you_mean
from rheostat.metrics.metric import Metric
from rheostat.metrics.statistics import Interval, Values, bootstrap_mean


def summarise(
    table: pd.DataFrame,
    metrics: "Metric | str | Sequence[Metric | str]",
    *,
    by: str | Sequence[str] | None = None,
    over: str = "prompt",
    seed: int = 0,
    skip_missing: bool = False,
) -> pd.DataFrame:
    """Return means over prompts, each prompt counted once, with 95 % bootstrap intervals over prompts.

    The resampled prompts are the same in every group that has the same prompts, so that groups can be compared.

    Args:
        table: what a sweep returned: a row per cell and prompt.
        metrics: the sweep's own, which know their mean (of perplexities the geometric one), or names of columns.
        by: labels whose combinations make the groups; None: each cell. Where a group has several rows of one prompt
            (draws of random directions, samples of a text), these are averaged first.
        over: the column of the units that were drawn; `row` in the sweep of a plain module.
        seed: of the resampling.
        skip_missing: leave out prompts with NaN, and count them in the column `missing`.

    Returns:
        One row per group and metric: the columns of `by` (for cells: all that do not vary within a cell), metric, mean,
        low, high, n (prompts counted), missing (prompts left out). Low and high are NaN where there is one prompt.

    Raises:
        BadArgument: a column is not there, a value is NaN or none is left, or a metric with a mean of its own has
            several values per prompt.
    """
    wanted: list[Metric | str] = [metrics] if isinstance(metrics, Metric | str) else list(metrics)
    columns = [one if isinstance(one, str) else one.column for one in wanted]
    groups = _groups(table, by, over, columns)
    _check_columns(table, [over, *groups, *columns])
    found = []
    for name, part in table.groupby(groups, sort=False, dropna=False):
        labels = dict(zip(groups, name, strict=True))
        for metric, column in zip(wanted, columns, strict=True):
            values = _per_prompt(part, metric, column, over)
            missing = int(np.isnan(values).sum())
            if missing and not skip_missing:
                raise BadArgument(
                    f"{column} is NaN for {missing} of {len(values)} values of {over} where {_spelled(labels)}. "
                    "skip_missing=True leaves them out and counts them."
                )
            interval = _mean(metric, values[~np.isnan(values)], seed=seed, what=f"{column} where {_spelled(labels)}")
            numbers = {"mean": interval.value, "low": interval.low, "high": interval.high, "n": interval.n}
            found.append({**labels, "metric": column, **numbers, "missing": missing})
    return pd.DataFrame(found)


def _groups(table: pd.DataFrame, by: str | Sequence[str] | None, over: str, columns: Sequence[str]) -> list[str]:
    if by is not None:
        return [by] if isinstance(by, str) else list(by)
    if "cell" not in table:
        raise BadArgument(
            f"the table has no column 'cell'. Say by which columns: by=[…] of {', '.join(map(str, table.columns))}."
        )
    cells = table.groupby("cell", sort=False, dropna=False)
    labels = [name for name in map(str, table.columns) if name not in {"cell", over, *columns}]
    constant = [name for name in labels if _is_hashable(table[name]) and (cells[name].nunique(dropna=False) == 1).all()]
    return ["cell", *constant]


def _is_hashable(column: pd.Series) -> bool:
    return not column.map(lambda value: isinstance(value, list | dict | set)).any()


def _check_columns(table: pd.DataFrame, names: Sequence[str]) -> None:
    for name in names:
        if name not in table:
            raise BadArgument(f"the table has no column {name!r}.{did_you_mean(name, map(str, table.columns))}")
    if table.empty:
        raise BadArgument("the table is empty, so there is no mean.")


def _per_prompt(part: pd.DataFrame, metric: Metric | str, column: str, over: str) -> Values:
    """Return one value per prompt, in the prompts' order; NaN where any of a prompt's values is."""
    own = part.groupby(over, sort=True)[column]
    if isinstance(metric, Metric) and type(metric).mean is not Metric.mean and (own.size() > 1).any():
        raise BadArgument(
            f"{column} has several values per {over}, and a mean of its own. Group by cell, or measure the loss."
        )
    return np.asarray([np.mean(np.asarray(values, dtype=np.float64)) for _, values in own])


def _mean(metric: Metric | str, values: Values, *, seed: int, what: str) -> Interval:
    if not len(values):
        raise BadArgument(f"{what}: every value is NaN, so there is no mean.")
    if len(values) == 1:
        return Interval(float(values[0]), float("nan"), float("nan"), 1)
    return bootstrap_mean(values, seed=seed) if isinstance(metric, str) else metric.mean(values, seed=seed)


def _spelled(labels: dict[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items())
