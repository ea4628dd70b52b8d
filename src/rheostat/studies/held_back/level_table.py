"""Which answers of an ability are right, level by level, item by item, draw by draw: one table of a model."""

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import pandas as pd

from rheostat.evaluation.scoring import is_right, tokens_for
from rheostat.model import Model
from rheostat.studies.held_back import pilot
from rheostat.studies.held_back.abilities import Ability, ability, best_ability
from rheostat.studies.held_back.replays import Table
from rheostat.studies.held_back.served import Request, Served, serve
from rheostat.studies.part import step_params
from rheostat.studies.study import Context
from rheostat.tasks.item import Item

STAND_INS = ("past-tense", "plural")
"""Abilities with enough pairs; the model's better one stands in."""
N_ITEMS, N_ITEMS_QUICK = 84, 24
N_DRAWS, N_DRAWS_QUICK = 3, 1
N_LEVELS, N_LEVELS_QUICK = 9, 5
N_DEV, N_DEV_QUICK = 20, 8
ABOVE = 1.25
"""How far above the fall the steps begin, so that a margin leaves a level there."""
LEAST_STEP = 0.0005
EVALUATOR = "evaluator"
"""Id of the key."""


def chosen_ability(model: Model, context: Context) -> tuple[Ability, pd.DataFrame]:
    """Return the ability that stands in, which the model is best at on the dev items, and all dev shares."""
    n = N_DEV_QUICK if context.quick else N_DEV

    def compute() -> pd.DataFrame:
        _, shares = best_ability(model, STAND_INS, n=n, seed=context.seed)
        return pd.DataFrame({"ability": list(shares), "right": list(shares.values())})

    table = context.step(f"abilities-{model.name}", step_params(model, context, abilities=STAND_INS, n=n), compute)
    best = str(table["ability"].iloc[int(table["right"].to_numpy().argmax())])
    return ability(best, context.seed), table


def server(model: Model, context: Context, mode: str = "gaussian") -> Callable[[], Served]:
    """Return what puts the model behind a dial, once, when it is first needed."""
    return cache(partial(serve, model, mode, context.seed))


def found_levels(
    model: Model, context: Context, stand_in: Ability, served: Callable[[], Served], mode: str = "gaussian"
) -> pd.DataFrame:
    """Return the pilot's curve of an ability (see `pilot.curve`)."""
    items = stand_in.dev(N_DEV_QUICK if context.quick else N_DEV, context.seed)
    n_fine = pilot.N_FINE_QUICK if context.quick else pilot.N_FINE
    params = step_params(model, context, items=spelled(items), levels=pilot.COARSE, n_fine=n_fine, mode=mode)
    return context.step(
        f"pilot-{stand_in.name}-{mode}-{model.name}", params, lambda: pilot.curve(served(), items, n_fine)
    )


def levels_of(first: pd.DataFrame, n: int) -> tuple[float, ...]:
    """Return the levels of an evaluation, descending: 1, n in equal steps around a pilot's fall, and 0."""
    gone, whole = (pilot.level_of(first, share) for share in (pilot.GONE, pilot.WHOLE))
    top = min(1.0, ABOVE * gone)
    step = max(LEAST_STEP, round((top - whole) / (n - 1), 4))
    inside = {round(top - place * step, 4) for place in range(n)}
    return tuple(sorted({1.0, 0.0, *(level for level in inside if level > 0)}, reverse=True))


def measure(
    model: Model, context: Context, stand_in: Ability, levels: Sequence[float], served: Callable[[], Served]
) -> pd.DataFrame:
    """Return one row per level, item and draw: columns level, item, draw, text, cut. Level by level a step."""
    n, draws = (N_ITEMS_QUICK, N_DRAWS_QUICK) if context.quick else (N_ITEMS, N_DRAWS)
    items = stand_in.test(n, context.seed)
    tables = []
    for level in context.progress(levels, f"levels, {model.name}"):
        params = step_params(model, context, items=spelled(items), level=level, draws=draws)
        compute = partial(_level, served, items, level, draws)
        tables.append(context.step(f"level-{f'{level:g}'.replace('.', '-')}-{model.name}", params, compute))
    return pd.concat(tables, ignore_index=True)


def _level(served: Callable[[], Served], items: Sequence[Item], level: float, draws: int) -> pd.DataFrame:
    asked = 1 if level == 0 else draws  # without noise there are no draws
    places = [(item, draw) for item in range(len(items)) for draw in range(asked)]
    requests = [
        Request(items[item].prompt, tokens_for(items[item].answer), level, draw, EVALUATOR) for item, draw in places
    ]
    rows = [
        {"level": level, "item": item, "draw": draw, "text": one.text, "cut": one.cut}
        for (item, draw), one in zip(places, served().answers(requests), strict=True)
    ]
    found = pd.DataFrame(rows)
    return found if asked == draws else pd.concat([found.assign(draw=draw) for draw in range(draws)], ignore_index=True)


def scored(answers: pd.DataFrame, expected: Sequence[str]) -> Table:
    """Return which answers are right, as an evaluation scores them.

    Args:
        answers: of `measure`.
        expected: per item, the answer that counts as right.
    """
    levels = tuple(sorted(set(answers["level"]), reverse=True))
    found = answers.sort_values(["level", "item", "draw"], ascending=[False, True, True])
    right = [
        is_right(text, expected[item], cut=bool(cut))
        for text, item, cut in zip(found["text"], found["item"], found["cut"], strict=True)
    ]
    return Table(levels, np.asarray(right, dtype=bool).reshape(len(levels), len(expected), -1))


def exchanged(expected: Sequence[str], share: float) -> list[str]:
    """Return the answers with every so many of them exchanged for another item's, a wrong one.

    Args:
        expected: the right answers.
        share: of them that are exchanged, 0.5 or 1.
    """
    step = round(1 / share)
    moved = [*expected[1:], expected[0]]
    return [moved[item] if item % step == 0 else own for item, own in enumerate(expected)]


def spelled(items: Sequence[Item]) -> list[list[str]]:
    """Return items as JSON values."""
    return [[item.prompt, item.answer] for item in items]
