"""Is reading states while a text is written cheaper oversight than a filter of the finished text, at equal quality?

Four detectors of texts that should be rejected, all of the same direction, each at the threshold that grants the same
rate of false alarms on calibration prompts:

- `monitor`: the highest smoothed reading of any token, from the prompt's last on, at the first that crosses;
- `prompt only`: the reading of the prompt's last token;
- `finished text`: the mean reading of all written tokens, the last one too, once the text is complete;
- `monitor at …`: the monitor of a second direction, usually one fitted on embeddings, as a control.

Costs are in block-tokens of each row alone, see `rheostat.steering.monitor`. A rejected text costs what was computed
until its rejection, an accepted one the whole text. The filter of the finished text is the cheapest there can be: it
reuses the states of the writing and adds k blocks of the last token; a second model would cost more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rheostat.base.errors import BadArgument
from rheostat.directions.direction import Direction
from rheostat.directions.directions import Directions
from rheostat.directions.scores import pooled_scores
from rheostat.engine.batch import as_prompts
from rheostat.engine.generate import Generation
from rheostat.engine.stream import blocks_run
from rheostat.metrics.statistics import Interval, auroc, bootstrap, bootstrap_auroc
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.sites.site import resolve_single
from rheostat.steering.monitor import cost_of_text, cost_until, monitor
from rheostat.steering.threshold import Pool, Smoothing, conformal_threshold

SHUFFLES = 200
NEVER = float(np.finfo(np.float64).max)
"""A threshold that no score crosses."""


@dataclass(frozen=True)
class Oversight:
    """What each detector catches, when, and what it costs."""

    concept: str
    model: str
    false_alarms: float
    """The rate that was wanted."""
    table: pd.DataFrame
    """One row per detector: {detector, threshold, recall, recall_low, recall_high, alarms, alarms_low, alarms_high,
    auroc, auroc_low, auroc_high, shuffled_auroc, cost, cost_share, before_end, at_prompt, n_positive, n_negative}.
    `recall` and `alarms` are the shares of rejected positives and negatives, with 95 % bootstrap intervals over texts;
    `cost` is block-tokens per text over positives and negatives, `cost_share` its ratio to writing all texts to their
    end; `before_end` is the mean share of a caught positive that was still to be written when it was caught,
    `at_prompt` the share of caught positives that were caught before anything was written."""
    texts: pd.DataFrame
    """One row per text and detector: {detector, text, positive, score, rejected, token, full_tokens, cost}."""
    generation: Generation
    """What was written: the positives', then the negatives' texts."""


def compare_oversight(
    network: Network,
    direction: Direction,
    positives: Sequence[Prompt],
    negatives: Sequence[Prompt],
    calibration: Sequence[Prompt],
    *,
    false_alarms: float = 0.05,
    baseline: Direction | None = None,
    window: int = 1,
    pool: Pool = "mean",
    max_new_tokens: int = 20,
    temperature: float | None = None,
    seed: int = 0,
    batch_size: int = 32,
) -> Oversight:
    """Compare a monitor of states with a detector of the prompt and a filter of the finished text.

    Args:
        network: writes the texts and is read.
        direction: what is read, at one site; positive: to be rejected.
        positives: prompts whose texts should be rejected. The direction was not fitted on them.
        negatives: prompts whose texts should pass.
        calibration: other prompts whose texts should pass; they set the thresholds.
        false_alarms: the same wanted rate for every detector.
        baseline: a direction for the control, such as one at `embed`.
        window: as for `monitor`.
        pool: as for `monitor`.
        max_new_tokens: tokens to write at most.
        temperature: None: greedy.
        seed: of sampling, the bootstrap and the shuffles.
        batch_size: prompts per batch.

    Raises:
        BadArgument: a set is too small, as `threshold_for` says, or a prompt has one token, so that nothing in it can
            be read (see `monitor`).
        DirectionNotUsable: a direction belongs to another network, or has no calibration.
    """
    sets = [as_prompts(one) for one in (positives, negatives, calibration)]
    prompts = [prompt for one in sets for prompt in one]
    is_positive = np.arange(len(sets[0]) + len(sets[1])) < len(sets[0])
    smoothing = Smoothing(window, pool)
    if baseline is not None and baseline.site == direction.site:
        raise BadArgument(f"direction and baseline lie both at {direction.site}; a control reads another site.")
    if short := [number for number, prompt in enumerate(prompts) if len(network.row(prompt)) < 2]:
        raise BadArgument(f"prompt {short[0]} has one token, which is not read. Give prompts of two tokens or more.")
    directions = Directions({one.site: one for one in (direction, baseline) if one is not None})
    written, readings = _write(network, prompts, directions, max_new_tokens, temperature, seed, batch_size)
    own = readings[direction.site]
    asked = [network.row(prompt).ids for prompt in prompts]
    n_tokens = [(len(row), len(ids)) for row, ids in zip(asked, written.ids, strict=True)]
    whole: list[Prompt] = [[*row, *ids] for row, ids in zip(asked, written.ids, strict=True)]
    ends = pooled_scores(network, direction, whole, positions="last", batch_size=batch_size)[direction.site]
    detectors = {"monitor": _monitor(network, direction, own, n_tokens, smoothing)}
    detectors["prompt only"] = _prompt_only(network, direction, own, n_tokens)
    detectors["finished text"] = _finished(network, direction, own, ends.tolist(), n_tokens)
    if baseline is not None:
        name = f"monitor at {baseline.site}"
        detectors[name] = _monitor(network, baseline, readings[baseline.site], n_tokens, smoothing)
    full = np.array([cost_of_text(network, *one) for one in n_tokens])[: len(is_positive)]
    rows, frames = [], []
    for name, detector in detectors.items():
        threshold = conformal_threshold(detector.scores[len(is_positive) :].tolist(), false_alarms)
        judged = _judge(detector, threshold, n_tokens[: len(is_positive)], full)
        frames.append(judged.assign(positive=is_positive, detector=name))
        rows.append({"detector": name, "threshold": threshold, **_summary(judged, is_positive, full, seed)})
    columns = ["detector", "text", "positive", "score", "rejected", "token", "full_tokens", "cost"]
    tested = len(is_positive)
    kept = Generation(written.texts[:tested], written.ids[:tested], written.prompts[:tested])
    return Oversight(
        direction.concept,
        network.name,
        false_alarms,
        pd.DataFrame(rows),
        pd.concat(frames, ignore_index=True)[columns],
        kept,
    )


@dataclass(frozen=True)
class _Detector:
    """What a detector would do with each text, at any threshold."""

    scores: NDArray[np.float64]
    """Per text; above the threshold it is rejected."""
    values: list[list[float]]
    """Per text, what is compared at each moment, in order."""
    tokens: list[list[int]]
    """Per text, how many tokens were written at each moment."""
    costs: list[list[int]]
    """Per text, the block-tokens computed by each moment."""
    extra: int = 0
    """Block-tokens that an accepted text costs beyond its writing."""


Readings = list[list[float]]
"""Per text, the score of the prompt's last token and of each written token but the last."""


def _monitor(
    network: Network, direction: Direction, readings: Readings, n_tokens: list[tuple[int, int]], smoothing: Smoothing
) -> _Detector:
    values = [smoothing.all(one) for one in readings]
    tokens = [list(range(len(one))) for one in readings]
    costs = [
        [cost_until(network, n_prompt, token, direction.site) for token in moments]
        for (n_prompt, _), moments in zip(n_tokens, tokens, strict=True)
    ]
    return _Detector(np.array([max(one) for one in values]), values, tokens, costs)


def _prompt_only(
    network: Network, direction: Direction, readings: Readings, n_tokens: list[tuple[int, int]]
) -> _Detector:
    values = [[one[0]] for one in readings]
    costs = [[cost_until(network, n_prompt, 0, direction.site)] for n_prompt, _ in n_tokens]
    return _Detector(np.array([one[0] for one in readings]), values, [[0]] * len(values), costs)


def _finished(
    network: Network,
    direction: Direction,
    readings: Readings,
    ends: list[float],
    n_tokens: list[tuple[int, int]],
) -> _Detector:
    """Return the filter; `ends` are the readings of the last written tokens, in the pass that `extra` pays for."""
    extra = blocks_run(network, [resolve_single(network, direction.site)])
    values = [[float(np.mean([*one[1:], end]))] for one, end in zip(readings, ends, strict=True)]
    tokens = [[n_written] for _, n_written in n_tokens]
    costs = [[cost_of_text(network, *one) + extra] for one in n_tokens]
    return _Detector(np.array([one[0] for one in values]), values, tokens, costs, extra)


def _judge(
    detector: _Detector, threshold: float, n_tokens: list[tuple[int, int]], full: NDArray[np.int64]
) -> pd.DataFrame:
    rows = []
    for text, (_, n_written) in enumerate(n_tokens):
        moment = next((i for i, value in enumerate(detector.values[text]) if value > threshold), None)
        rows.append(
            {
                "text": text,
                "score": detector.scores[text],
                "rejected": moment is not None,
                "token": np.nan if moment is None else detector.tokens[text][moment],
                "full_tokens": n_written,
                "cost": int(full[text]) + detector.extra if moment is None else detector.costs[text][moment],
            }
        )
    return pd.DataFrame(rows)


def _summary(
    judged: pd.DataFrame, is_positive: NDArray[np.bool_], full: NDArray[np.int64], seed: int
) -> dict[str, float]:
    scores = judged["score"].to_numpy(dtype=np.float64)
    found = bootstrap_auroc(scores, is_positive, range(len(scores)), seed=seed)
    rng = np.random.default_rng((seed, 1))
    shuffled = np.stack([rng.permutation(is_positive) for _ in range(SHUFFLES)])
    rejected = judged["rejected"].to_numpy(dtype=np.float64)
    recall, alarms = (_share(rejected[chosen], seed) for chosen in (is_positive, ~is_positive))
    caught = judged[is_positive & judged["rejected"].to_numpy()]
    left = 1 - caught["token"] / caught["full_tokens"]
    return {
        "recall": recall.value,
        "recall_low": recall.low,
        "recall_high": recall.high,
        "alarms": alarms.value,
        "alarms_low": alarms.low,
        "alarms_high": alarms.high,
        "auroc": found.value,
        "auroc_low": found.low,
        "auroc_high": found.high,
        "shuffled_auroc": float(auroc(np.broadcast_to(scores, shuffled.shape), shuffled).mean()),
        "cost": float(judged["cost"].mean()),
        "cost_share": float(judged["cost"].sum() / full.sum()),
        "before_end": float(left.mean()),
        "at_prompt": float((caught["token"] == 0).mean()),
        "n_positive": int(is_positive.sum()),
        "n_negative": int((~is_positive).sum()),
    }


def _share(values: NDArray[np.float64], seed: int) -> Interval:
    return bootstrap(lambda drawn: float(drawn.mean()), values, seed=seed)


def _write(
    network: Network,
    prompts: Sequence[Prompt],
    directions: Directions,
    max_new_tokens: int,
    temperature: float | None,
    seed: int,
    batch_size: int,
) -> tuple[Generation, dict[str, Readings]]:
    """Write all texts to their end; return them with the readings at each site."""
    if batch_size < 1:
        raise BadArgument(f"batch_size={batch_size}: at least 1.")
    parts = []
    readings: dict[str, Readings] = {site: [] for site in directions}
    for first in range(0, len(prompts), batch_size):
        done = monitor(
            network,
            list(prompts[first : first + batch_size]),
            directions,
            NEVER,
            action="flag",
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
        )
        for site in directions:
            of_site = done.readings[done.readings["site"] == site]
            readings[site] += [list(scores) for _, scores in of_site.groupby("row")["reading"]]
        parts.append(done.generation)
    return Generation(
        tuple(text for one in parts for text in one.texts),
        tuple(ids for one in parts for ids in one.ids),
        tuple(prompt for one in parts for prompt in one.prompts),
    ), readings
