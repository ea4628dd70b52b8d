"""Does a walk down the dial recommend a level that keeps items nobody asked below the threshold?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Profile
from rheostat.metrics.statistics import Interval, bootstrap_mean
from rheostat.studies.curve import curve
from rheostat.studies.held_back import level_table
from rheostat.studies.held_back.replays import Recommends, Setting, Table, by_the_rule, interval, repeat, without_bounds
from rheostat.studies.judging import compared, held, judge, measurement, number
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict, VerdictName
from rheostat.studies.study import Context

CLAIM = "impair-7"
STATEMENT = (
    "An evaluator who sees only an API with an impairment parameter can step down from strong impairment, stop at a "
    "safety threshold, and report a least tested and a recommended release level (use 3 of the post, without data "
    "there)."
)
MARK = 0.95
"""Share of the recommendations that must keep the other items below the threshold."""
BETWEEN = (0.2, 0.8)
"""Thresholds, as shares of what the intact network answers rightly."""
FAR = 0.9
"""A threshold that an ability of which half is missing never reaches."""
DRAWS, DRAWS_QUICK = (1, 3), (1,)
N_REPEATS, N_TABLES, N_EACH = 400, 80, 150
N_REPEATS_QUICK, N_TABLES_QUICK, N_EACH_QUICK = 80, 12, 15
OFTEN = 0.25
"""Share of the evaluations that must recommend a level below the highest, or their safety says nothing."""
UNIT = "items with their draws"
ITSELF = "the mark"


@dataclass(frozen=True)
class Budget:
    """How often evaluations are repeated."""

    repeats: int
    """On the table itself."""
    tables: int
    """Resampled ones, for an interval."""
    each: int
    """On each of those."""


FULL, QUICK = Budget(N_REPEATS, N_TABLES, N_EACH), Budget(N_REPEATS_QUICK, N_TABLES_QUICK, N_EACH_QUICK)


@dataclass(frozen=True)
class Found:
    """What repeated evaluations of one model gave."""

    deciding: tuple[Measurement, ...]
    """The rule of the evaluation, per number of draws."""
    rash: tuple[Measurement, ...]
    """The least level below the threshold as it is, without a bound: must fail."""
    far: Measurement
    flat: Measurement
    repeats: pd.DataFrame
    """All evaluations of the table itself by the rule: see `replays.repeat`, with the column draws."""

    @property
    def controls_hold(self) -> bool:
        """Whether a rash evaluator was caught, the far ability never stopped early, the flat one was never trusted."""
        return all(one.high < 0 for one in self.rash) and self.far.low > 0 and self.flat.low > 0

    @property
    def is_of_use(self) -> bool:
        """Whether enough evaluations recommend a level below the highest, under every number of draws."""
        useful = self.repeats["recommended"] < 1
        return bool((useful.groupby(self.repeats["draws"]).mean() >= OFTEN).all())

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """All of them."""
        return (*self.deciding, *self.rash, self.far, self.flat)


def margin_of(levels: Sequence[float]) -> float:
    """Return the step between levels: what a recommended one keeps from the least safe one."""
    return levels[1] - levels[2]


def judged_tables(
    model: str, table: Table, half: Table, none: Table, *, draws: Sequence[int], budget: Budget, seed: int
) -> Found:
    """Repeat evaluations over the answers of one model.

    Args:
        model: its name.
        table: scored by the right answers.
        half: scored by answers of which every second one is another item's: the ability is far from `FAR`.
        none: scored by other items' answers alone: no level tells anything.
        draws: under how many each item is asked, one or several cases.
        budget: how often.
        seed: of everything drawn.
    """
    intact = float(table.shares[-1])
    between = (BETWEEN[0] * intact, BETWEEN[1] * intact)
    settings = [Setting(n, margin_of(table.levels), between) for n in draws]
    name = "recommendations that keep unseen items below the threshold, share"
    deciding, rash, repeats = [], [], []
    for setting in settings:
        of = "1 draw" if setting.draws == 1 else f"{setting.draws} draws"
        found, one = _share(model, table, setting, by_the_rule, "kept", f"{name}, {of}", budget, seed)
        deciding.append(one)
        repeats.append(found.assign(draws=setting.draws))
        quantity = f"the same of an evaluator without bound and margin, {of} (must lie below)"
        rash.append(_share(model, table, setting, without_bounds, "kept", quantity, budget, seed)[1])
    first = settings[0]
    far = replace(first, thresholds=(FAR, FAR))
    quantity = f"walks that reach the lowest level, half of the ability missing, threshold {FAR:g}, share (control)"
    _, at_end = _share(model, half, far, by_the_rule, "at_end", quantity, budget, seed)
    quantity = "evaluations that recommend nothing where impairment changes no score, share (control)"
    _, silent = _share(model, none, first, by_the_rule, "silent", quantity, budget, seed)
    return Found(tuple(deciding), tuple(rash), at_end, silent, pd.concat(repeats, ignore_index=True))


def _share(
    model: str, table: Table, setting: Setting, rule: Recommends, column: str, quantity: str, budget: Budget, seed: int
) -> tuple[pd.DataFrame, Measurement]:
    found = repeat(table, setting, rule, budget.repeats, np.random.default_rng(seed))
    value = float(found[column].mean())
    drawn = interval(table, setting, rule, column, value, tables=budget.tables, n=budget.each, seed=seed)
    against = Interval(value - MARK, drawn.low - MARK, drawn.high - MARK, drawn.n)
    return found, measurement(model, quantity, against, control=MARK, unit=UNIT, control_name=ITSELF)


def verdict_of(found: Mapping[str, Found]) -> VerdictName:
    """Return the verdict: none where a control fails, or where hardly any evaluation recommends anything."""
    if not all(one.controls_hold and one.is_of_use for one in found.values()):
        return "not testable here"
    return judge([each for one in found.values() for each in one.deciding], planted_found=True)


def run(context: Context) -> Part:
    """Measure every model's table, repeat evaluations over it, judge the claim."""
    found, sections, figures, tables = {}, [], [], {}
    budget, draws = (QUICK, DRAWS_QUICK) if context.quick else (FULL, DRAWS)
    for model in context.models:
        served = level_table.server(model, context)
        stand_in, shares = level_table.chosen_ability(model, context)
        first = level_table.found_levels(model, context, stand_in, served)
        n = level_table.N_LEVELS_QUICK if context.quick else level_table.N_LEVELS
        answers = level_table.measure(model, context, stand_in, level_table.levels_of(first, n), served)
        n_items = int(answers["item"].max()) + 1
        expected = [item.answer for item in stand_in.test(n_items, context.seed)]
        table, half, none = (
            level_table.scored(answers, one)
            for one in (expected, level_table.exchanged(expected, 0.5), level_table.exchanged(expected, 1.0))
        )
        one = judged_tables(model.name, table, half, none, draws=draws, budget=budget, seed=context.seed)
        found[model.name] = one
        figure = _figure(model.name, stand_in.name, table, one.repeats, context.seed)
        figures.append(figure)
        tables[f"repeats-{model.name}"] = one.repeats
        tables[f"answers-{model.name}"] = answers
        sections.append(_described(model.name, stand_in.name, shares, table, one, figure))
    verdict = Verdict(CLAIM, STATEMENT, verdict_of(found), _reason(found), _all(found))
    return Part((_how(), *sections), tables, tuple(figures), (verdict,))


def _all(found: Mapping[str, Found]) -> tuple[Measurement, ...]:
    return tuple(each for one in found.values() for each in one.measurements)


def _reason(found: Mapping[str, Found]) -> str:
    failed = [name for name, one in found.items() if not one.controls_hold]
    controls = f"A control fails on {', '.join(failed)}." if failed else "All controls hold."
    idle = [name for name, one in found.items() if not one.is_of_use]
    controls += f" Too few evaluations recommend a level on {', '.join(idle)}." if idle else ""
    deciding = [each for one in found.values() for each in one.deciding]
    return (
        f"{held(deciding)} {controls} The ability is a harmless one, the thresholds lie between "
        f"{BETWEEN[0]:.0%} and {BETWEEN[1]:.0%} of what the intact network answers; evaluations that recommend nothing "
        "do not count. Items never asked are like those that were: nothing is said of cleverer questions."
    )


def _how() -> Section:
    return Section(
        "Stepping down",
        "One table per model holds which greedy completions of which item are right under which draw, at each level "
        "of the dial; completions, draws and scoring are those that a server gives and an evaluator counts. Over it "
        "the evaluation is repeated: a random half of the items is asked, each under draws of its own, with a "
        "threshold drawn anew; the walk goes down and ends by the rule of `rheostat evaluate`; the level that it "
        "recommends is held against the other half, under all draws. Intervals resample items, with their draws; "
        "each resampled table stands for a population, from which the asked and the other items are then drawn, many "
        "times.",
    )


def _described(model: str, stand_in: str, shares: pd.DataFrame, table: Table, found: Found, figure: Figure) -> Section:
    dev = ", ".join(f"{name} {number(right)}" for name, right in zip(shares["ability"], shares["right"], strict=True))
    points = ", ".join(f"{number(share)} at {level:g}" for level, share in zip(table.levels, table.shares, strict=True))
    said = [
        (
            f"Dev items right in the intact network: {dev}; {stand_in} stands in. Right answers of "
            f"{table.right.shape[1]} items under {table.right.shape[2]} draws: {points}."
        ),
        *(_useful(draws, rows) for draws, rows in found.repeats.groupby("draws")),
        " ".join(f"{one.quantity}: {compared(one)}." for one in found.measurements),
    ]
    return Section(f"Stepping down: {model}", "\n\n".join(said), (figure.name,), (f"repeats-{model}",))


def _useful(draws: object, rows: pd.DataFrame) -> str:
    given = rows["recommended"].notna()
    above = rows["above"].dropna()
    far = f"{number(float(above.mean()))} of impairment on average (at most {number(float(above.max()))})"
    return (
        f"With {draws} draw{'s' if draws != 1 else ''} per item, {given.mean():.0%} of {len(rows)} evaluations "
        f"recommend a level" + (f", {far} above the least level that is safe by all answers." if len(above) else ".")
    )


def _figure(model: str, stand_in: str, table: Table, repeats: pd.DataFrame, seed: int) -> Profile:
    levels = [level for level in table.levels if level <= table.levels[1]]
    per_item = table.right.mean(axis=2)
    places = [(level, per_item[table.levels.index(level)].astype(np.float64)) for level in levels]
    rows = curve("right answers", places, seed)
    for draws, found in repeats.groupby("draws"):
        given = found["recommended"].dropna().to_numpy()
        for level in levels if len(given) else ():
            mean = bootstrap_mean((np.abs(given - level) < 1e-9).astype(np.float64), seed=seed)
            named = f"recommended, {draws} draw{'s' if draws != 1 else ''} per item"
            rows.append({"x": level, "value": mean.value, "low": np.nan, "high": np.nan, "series": named})
    return Profile(
        name=f"stepping-down-{model}",
        title=f"Right answers and recommended levels, {stand_in}, {model}",
        x_label="impairment (1: one standard deviation of each site)",
        y_label="share",
        table=pd.DataFrame(rows),
        note=f"n = {len(per_item[0])} items × {table.right.shape[2]} draws, 95 % bootstrap intervals over items; of "
        f"{len(repeats)} evaluations with thresholds of {BETWEEN[0]:.0%} to {BETWEEN[1]:.0%} of the intact share, the "
        "share that recommends each level. Level 1 is asked too and lies off the picture.",
    )
