"""Every metric that can be written as data, by the name it has there, and how one is read back."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from rheostat.base.errors import BadArgument
from rheostat.base.names import did_you_mean
from rheostat.metrics.accuracy import Accuracy
from rheostat.metrics.divergence import KLToClean
from rheostat.metrics.loss import GreedyMatch, Loss, Perplexity, PerPrompt
from rheostat.metrics.metric import Metric
from rheostat.metrics.tokens import LogitDifference, LogProbability, Probability, Rank
from rheostat.sites.positions import Positions

_LISTED: tuple[type[Metric], ...] = (
    Accuracy,
    GreedyMatch,
    KLToClean,
    LogProbability,
    LogitDifference,
    Loss,
    Perplexity,
    Probability,
    Rank,
)
METRICS: Mapping[str, type[Metric]] = {one.__name__: one for one in _LISTED}


def metric_to_dict(metric: Metric) -> dict[str, Any]:
    """Return JSON-able settings of a metric.

    Raises:
        BadArgument: it is a function or a class of the user's own, which no data can hold.
    """
    if METRICS.get(type(metric).__name__) is not type(metric):
        raise BadArgument(
            f"the metric {metric.column!r} is code of your own, which cannot be sent as data. "
            f"Use one of {', '.join(METRICS)}, or executor='local'."
        )
    assert is_dataclass(metric)
    settings = {one.name: _as_data(getattr(metric, one.name)) for one in fields(metric)}
    return {"metric": type(metric).__name__, **settings}


def metric_from_dict(data: Mapping[str, Any]) -> Metric:
    """Build a metric from what `metric_to_dict` returned. Nothing in it is executed.

    Raises:
        BadArgument: an unknown metric or setting.
    """
    settings = dict(data)
    name = settings.pop("metric", None)
    if name not in METRICS:
        raise BadArgument(f"no metric {name!r}.{did_you_mean(str(name), METRICS)} One of: {', '.join(METRICS)}.")
    try:
        return METRICS[name](**{key: _from_data(value) for key, value in settings.items()})
    except TypeError as error:
        raise BadArgument(f"the metric {name} is described wrongly: {error}") from error


def _as_data(value: object) -> Any:
    if isinstance(value, Positions):
        return {"positions": value.to_json()}
    if isinstance(value, PerPrompt):
        return {"per_prompt": [_as_data(one) for one in value.positions]}
    return [_as_data(one) for one in value] if isinstance(value, tuple) else value


def _from_data(value: Any) -> Any:
    if isinstance(value, dict) and "positions" in value:
        return Positions.from_json(value["positions"])
    if isinstance(value, dict) and "per_prompt" in value:
        return PerPrompt([_from_data(one) for one in value["per_prompt"]])
    return tuple(map(_from_data, value)) if isinstance(value, list) else value
