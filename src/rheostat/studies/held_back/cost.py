"""What an impairment costs: processor time of the same texts with and without it, in turns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np
import pandas as pd

from rheostat.base.shapes import Grid
from rheostat.edit.plan import Plan
from rheostat.engine.continuous import Lane, RunningBatch
from rheostat.engine.module_generate import inputs_of, module_generate
from rheostat.engine.turns import take_turns
from rheostat.impairment.dial import Dial
from rheostat.metrics.statistics import Interval, Values, bootstrap_mean
from rheostat.model import Model
from rheostat.models.network import Network
from rheostat.studies.held_back.level_table import server
from rheostat.studies.judging import held, judge, measurement, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

CLAIM = "impair-9"
STATEMENT = "Graded impairment of a transformer is cheap and easy to apply."
PROMPT = "The capital of Germany is Berlin, and the river that flows through it is the Spree. The capital of France is"
INTENSITY = 0.3
MODES = ("gaussian", "negative", "magnitude")
N_NEW, N_NEW_QUICK = 24, 8
N_ROWS, N_ROWS_QUICK = 16, 4
N_NEW_BATCH, N_NEW_BATCH_QUICK = 24, 6
TURNS, TURNS_QUICK = {"alone": 64, "batch": 11}, {"alone": 2, "batch": 2}
"""Of one text: many short ones, for the clock of a machine drifts by more than the mark from one second to another."""
MARKS = {"alone": 1 / 1.03, "batch": 0.85}
"""Speed under impairment over plain speed, at least: at most 3 % more time for one text, 15 % less of a batch."""
UNIT = "runs"

ONE, ZERO, PLAIN, AGAIN = "impaired", "intensity 0", "plain", "plain, again"
MIXED, UNEDITED, UNEDITED_AGAIN = "mixed batch", "batch without plans", "batch without plans, again"
COMPARISONS = (
    ("one text under noise against plain generation", PLAIN, ONE, "alone"),
    ("one text under noise against the same edit at intensity 0 (does not decide)", ZERO, ONE, "alone"),
    ("one text at intensity 0 against plain generation (does not decide)", PLAIN, ZERO, "alone"),
    ("plain generation against itself (does not decide)", PLAIN, AGAIN, "alone"),
    ("a batch of mixed impairments against the batch without any", UNEDITED, MIXED, "batch"),
    ("a batch without plans against itself (does not decide)", UNEDITED, UNEDITED_AGAIN, "batch"),
)
"""What is compared, whose time stands above, whose below, and the mark."""

LABELS = ("noise / plain", "noise / zero", "zero / plain", "plain / plain", "batch: mixed", "batch: plain")
"""The same, for a figure."""


def ways(model: Model, dial: Dial, *, quick: bool) -> dict[str, Callable[[], list[list[int]]]]:
    """Return the ways of writing that take turns; each gives the tokens of its texts.

    Noise is another one at every call: no table of it is kept from the call before.
    """
    n_new, n_rows, n_batch = (N_NEW_QUICK, N_ROWS_QUICK, N_NEW_BATCH_QUICK) if quick else (N_NEW, N_ROWS, N_NEW_BATCH)
    inputs, draws = inputs_of(model, PROMPT), count()
    together = partial(batch, model, n_new=n_batch)

    def plain() -> list[list[int]]:
        return [module_generate(model, inputs, n_new)]

    def impaired(intensity: float) -> list[list[int]]:
        return [list(model.generate(PROMPT, dial.plan(intensity, draw=next(draws)), max_new_tokens=n_new).ids[0])]

    return {
        ONE: partial(impaired, INTENSITY),
        ZERO: partial(impaired, 0.0),
        PLAIN: plain,
        AGAIN: plain,
        MIXED: lambda: together(mixed(n_rows, dial, draw=next(draws))),
        UNEDITED: partial(together, [Plan()] * n_rows),
        UNEDITED_AGAIN: partial(together, [Plan()] * n_rows),
    }


def mixed(n_rows: int, dial: Dial, *, draw: int) -> list[Plan]:
    """Return plans that differ in mode, intensity and seed; the first impairs nothing."""
    dials = [replace(dial, mode=mode, scale=None if mode == "magnitude" else dial.scale) for mode in MODES]
    return [dials[row % 3].plan(0.6 * row / n_rows, seed=row, draw=draw) if row else Plan() for row in range(n_rows)]


def batch(network: Network, plans: Sequence[Plan], *, n_new: int) -> list[list[int]]:
    """Write a text per plan after one prompt, all in one running batch, as a server does; return their tokens."""
    row = network.row(PROMPT)
    running = RunningBatch(network, max_rows=len(plans))
    try:
        lanes = [Lane(network, row, plan, max_new_tokens=n_new) for plan in plans]
        logits = running.join(lanes)
        written = [[int(token)] for token in logits.argmax(-1)]
        for _ in range(n_new - 1):
            newest = running.step([own[-1] for own in written]).argmax(-1).tolist()
            for own, token in zip(written, newest, strict=True):
                own.append(token)
    finally:
        running.close()
    return written


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per way and run: columns way, run, tokens, seconds (of this process on the processor).

    Texts take turns with texts, and batches with batches.
    """
    turns = TURNS_QUICK if context.quick else TURNS
    served = server(model, context)

    def compute() -> pd.DataFrame:
        each = ways(model, served().dial, quick=context.quick)
        return pd.concat(
            [_timed(model, {way: each[way] for way in each if kinds[way] == kind}, n) for kind, n in turns.items()],
            ignore_index=True,
        )

    kinds = {way: kind for _, over, under, kind in COMPARISONS for way in (over, under)}
    n_new = N_NEW_QUICK if context.quick else N_NEW
    params = step_params(model, context, turns=turns, n_new=n_new, intensity=INTENSITY, noise="drawn anew", per="token")
    return context.step(f"cost-{model.name}", params, compute)


def _timed(model: Model, each: Mapping[str, Callable[[], list[list[int]]]], turns: int) -> pd.DataFrame:
    written: dict[str, list[int]] = {way: [] for way in each}

    def counted(way: str) -> None:
        written[way].append(sum(map(len, each[way]())))

    _, times = take_turns({way: partial(counted, way) for way in each}, turns=turns, device=model.device)
    return pd.DataFrame(
        {"way": way, "run": run, "tokens": n, "seconds": seconds}
        for way, found in times.items()
        for run, (seconds, n) in enumerate(zip(found.cpu, written[way][1:], strict=True))  # the first was warm-up
    )


def speeds(table: pd.DataFrame, over: str, under: str) -> Values:
    """Return, run by run, the time per token of one way over that of another: the speed of the latter in its shares."""
    timed = table.assign(cost=table["seconds"] / table["tokens"])
    each = {str(way): rows.sort_values("run")["cost"].to_numpy() for way, rows in timed.groupby("way")}
    return np.asarray(each[over] / each[under], dtype=np.float64)


def measured(model: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return every comparison with its mark."""
    found = []
    for what, over, under, kind in COMPARISONS:
        mean = bootstrap_mean(speeds(table, over, under), seed=seed)
        mark = MARKS[kind]
        against = Interval(mean.value - mark, mean.low - mark, mean.high - mark, mean.n)
        quantity = f"speed (share), {what}"
        found.append(measurement(model, quantity, against, control=mark, unit=UNIT, control_name="the mark"))
    return found


def run(context: Context) -> Part:
    """Time every model and judge the claim."""
    return judged({model.name: measure(model, context) for model in context.models}, context.seed)


def judged(tables: Mapping[str, pd.DataFrame], seed: int) -> Part:
    """Judge the claim."""
    found = {name: measured(name, table, seed) for name, table in tables.items()}
    every = [one for each in found.values() for one in each]
    deciding = [one for one in every if "does not decide" not in one.quantity]
    said_of_sharpness = (
        "" if sharp(every) else " A way timed against itself missed its mark: times were too unsteady to tell."
    )
    verdict = Verdict(
        CLAIM,
        STATEMENT,
        judge(deciding, planted_found=True) if sharp(every) else "not testable here",
        f"{held(deciding)}{said_of_sharpness} Processor time of this process per token, in turns, noise drawn anew; an "
        "impairment may cost one text at most 3 % more "
        "time, and a batch of mixed ones must reach 85 % of the plain one's speed. How easy it is to apply was not "
        "measured.",
        tuple(every),
    )
    figure = _figure(tables, seed)
    said = [
        f"{name}. "
        + " ".join(
            f"{one.quantity[0].upper()}{one.quantity[1:]}: {number(one.effect)} [{number(one.low + one.control)}, "
            f"{number(one.high + one.control)}], mark {number(one.control)}, n = {one.n} runs."
            for one in each
        )
        for name, each in found.items()
    ]
    section = Section("What it costs", "\n\n".join([HOW, *said]), (figure.name,), ("seconds",))
    return Part((section,), {"seconds": joined(tables)}, (figure,), (verdict,))


def sharp(measured_ones: Sequence[Measurement]) -> bool:
    """Tell whether ways timed against themselves lie within the marks, or differences of that size could be chance."""
    return all(one.low > 0 for one in measured_ones if "against itself" in one.quantity)


HOW = (
    "One prompt is continued by transformers alone, by rheostat under noise at every block, and under the same edit at "
    "intensity 0; and a batch in which rows have impairments of other modes, intensities and seeds is written against "
    "the same batch without plans, in the loop that a server uses. The ways take turns, so that a busy machine slows "
    "all of them alike, and another one begins each turn; what is compared is processor time per written token, within "
    "a turn. Noise is another one in every turn, so none is kept from the turn before."
)


def _figure(tables: Mapping[str, pd.DataFrame], seed: int) -> Grid:
    rows = []
    for (_, over, under, _), label in zip(COMPARISONS, LABELS, strict=True):
        for name, table in tables.items():
            mean = bootstrap_mean(speeds(table, over, under), seed=seed)
            text = f"{mean.value:.3f} {mean.low:.2f}–{mean.high:.2f}"
            rows.append({"x": name, "y": label, "value": mean.value, "text": text})
    runs = next(iter(tables.values())).groupby("way")["run"].nunique()
    return Grid(
        name="cost",
        title="Speed of one way in shares of another's",
        x_label="model",
        y_label="ways",
        value_label="speed",
        table=pd.DataFrame(rows),
        note=f"{runs[PLAIN]} runs of each text and {runs[UNEDITED]} of each batch, in turns, processor time, 95 % "
        "bootstrap intervals over runs. Plain: by "
        "transformers, or the batch without plans; zero: intensity 0. One text is to reach "
        f"{MARKS['alone']:.3f}, the mixed batch {MARKS['batch']:.2f}.",
        centre=1.0,
    )
