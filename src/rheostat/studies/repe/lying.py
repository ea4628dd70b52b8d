"""Do honest and instructed-to-lie texts differ at all blocks and positions, and is it lying that is seen?

The same true statements are the model's own turn after an instruction to be honest or to lie. A direction per block and
token is fitted on some countries and read on others. Told apart are: the two instructions that were fitted on; two
others, in other words; and, as the control that decides, two honest instructions against each other.
"""

import numpy as np
import pandas as pd

from rheostat.base.shapes import Grid
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.judging import held, judge, number
from rheostat.studies.part import Part, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.repe.auroc_by_group import auroc_against
from rheostat.studies.repe.instructed import (
    HONEST,
    HONEST_TOO,
    INSTRUCTIONS,
    LYING,
    LYING_TOO,
    N_SHARED,
    N_TOKENS,
    Said,
    said,
)
from rheostat.studies.study import Context
from rheostat.studies.untrained import untrained

CLAIM = "repe-6"
STATEMENT = "The model can be caught lying: honest and dishonest texts differ clearly at all layers and positions."
N_STATEMENTS, N_QUICK, FOLDS = 20, 10, 5
SAME, OTHER_WORDS, TWO_HONEST, SHUFFLED = (
    "same instructions",
    "other words",
    "two honest instructions",
    "shuffled labels",
)
UNTRAINED = "untrained"
TESTS = {
    SAME: ((HONEST, LYING), (HONEST, LYING)),
    OTHER_WORDS: ((HONEST, LYING), (HONEST_TOO, LYING_TOO)),
    TWO_HONEST: ((HONEST, HONEST_TOO), (HONEST, HONEST_TOO)),
}
"""Name → instructions that are fitted on, and those that are read: the honest, then the other."""


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per test, block, token, country and instruction: the score.

    Columns: test, block, token (−1: the last before the answer), country, positive (the first instruction), score.
    """
    n = N_QUICK if context.quick else N_STATEMENTS

    def compute() -> pd.DataFrame:
        own = said(model, n, context.seed)
        tables = [_rows(name, scores(own, *sides, seed=context.seed)) for name, sides in TESTS.items()]
        tables.append(_rows(SHUFFLED, scores(own, *TESTS[SAME], seed=context.seed, shuffled=True)))
        blank = said(untrained(model, context.seed), n, context.seed)
        tables.append(_rows(UNTRAINED, scores(blank, *TESTS[OTHER_WORDS], seed=context.seed)))
        return pd.concat(tables, ignore_index=True)

    params = step_params(model, context, n=n, instructions=INSTRUCTIONS, tokens=N_TOKENS)
    return context.step(f"lying-{model.name}", params, compute)


def scores(own: Said, fitted: tuple[str, str], read: tuple[str, str], *, seed: int, shuffled: bool = False) -> Values:
    """Return scores (side, block, token, country) along the mean difference, in standard deviations of fitted texts."""
    first, second = (own.states[name].astype(np.float64) for name in fitted)
    tested = [own.states[name].astype(np.float64) for name in read]
    n = first.shape[2]
    rng = np.random.default_rng(seed)
    fold = rng.permutation(n) % FOLDS
    if shuffled:
        swap = (rng.permutation(n) < n // 2)[None, None, :, None]
        first, second = np.where(swap, second, first), np.where(swap, first, second)
    found = np.empty((2, *first.shape[:3]))
    for one in range(FOLDS):
        fit, test = fold != one, fold == one
        axis = first[:, :, fit].mean(2) - second[:, :, fit].mean(2)
        axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
        reach = np.einsum("btnw,btw->btn", np.concatenate([first[:, :, fit], second[:, :, fit]], axis=2), axis)
        for side, states in enumerate(tested):
            reached = np.einsum("btnw,btw->btn", states[:, :, test], axis)
            spread = np.maximum(reach.std(-1, keepdims=True), 1e-12)
            found[side][:, :, test] = (reached - reach.mean(-1, keepdims=True)) / spread
    return found


def _rows(test: str, found: Values) -> pd.DataFrame:
    side, block, token, country = np.indices(found.shape).reshape(4, -1)
    token = np.where(token == N_TOKENS, -1, token)
    values = {"block": block, "token": token, "country": country, "positive": side == 0, "score": found.ravel()}
    return pd.DataFrame(values).assign(test=test)


def cells(table: pd.DataFrame, test: str) -> tuple[Values, np.ndarray, np.ndarray]:
    """Return scores (block × token, text) from the country on, and each text's label and country."""
    own = table[(table["test"] == test) & (table["token"] >= N_SHARED)].sort_values(
        ["block", "token", "positive", "country"], ascending=[True, True, False, True]
    )
    n = own["country"].nunique()
    scored = own["score"].to_numpy(dtype=np.float64).reshape(-1, 2 * n)
    return scored, np.repeat([True, False], n), np.tile(np.arange(n), 2)


def measure_all(name: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return the mean AUROC over all blocks and tokens, in the same and in other words, against the controls."""
    measured = []
    for test, controls in ((SAME, (TWO_HONEST, SHUFFLED)), (OTHER_WORDS, (SHUFFLED, UNTRAINED))):
        effect, positive, countries = cells(table, test)
        measured += auroc_against(
            name,
            f"AUROC honest against lying, {test}, mean over blocks and tokens",
            effect,
            {one: cells(table, one)[0] for one in controls},
            positive,
            countries,
            unit="countries",
            seed=seed,
        )
    return measured


def by_cell(table: pd.DataFrame, test: str) -> pd.DataFrame:
    """Return the AUROC of every block and token: rows {block, token, auroc}."""
    from rheostat.metrics.statistics import auroc

    rows = []
    for (block, token), own in table[table["test"] == test].groupby(["block", "token"]):
        value = float(auroc(own["score"].to_numpy(dtype=np.float64), own["positive"].to_numpy(dtype=bool)))
        rows.append({"block": block, "token": token, "auroc": value})
    return pd.DataFrame(rows)


def run(context: Context) -> Part:
    """Read instructed statements on all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    found = {name: measure_all(name, table, context.seed) for name, table in tables.items()}
    deciding = [one for measured in found.values() for one in measured]
    maps = {
        (name, test): by_cell(table, test)
        for name, table in tables.items()
        for test in (SAME, OTHER_WORDS, TWO_HONEST, SHUFFLED, UNTRAINED)
    }
    lowest = "; ".join(
        f"{number(float(cell[cell['token'] >= N_SHARED]['auroc'].min()))} ({name})"
        for (name, test), cell in maps.items()
        if test == OTHER_WORDS
    )
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=False),
        reason=f"{held(deciding)} The two honest instructions decide whether lying is seen, or any instruction. "
        f"In other words the lowest AUROC of any block and token is {lowest}. True against false statements: see "
        "repe-1.",
        measurements=tuple(deciding),
    )
    figures = tuple(_grid(name, test, maps[name, test]) for name in tables for test in (OTHER_WORDS, TWO_HONEST))
    section = Section(
        heading="Instructed to lie",
        text="\n\n".join(_describe(name, maps, found[name]) for name in tables),
        figures=tuple(figure.name for figure in figures),
    )
    table = pd.concat([cell.assign(model=name, test=test) for (name, test), cell in maps.items()], ignore_index=True)
    return Part((section,), {"lying-by-cell": table}, figures, (verdict,))


def _describe(name: str, maps: dict[tuple[str, str], pd.DataFrame], found: list[Measurement]) -> str:
    sentences = []
    for test in (SAME, OTHER_WORDS, TWO_HONEST, SHUFFLED, UNTRAINED):
        cell = maps[name, test]
        varied = cell[cell["token"] >= N_SHARED]["auroc"]
        sentences.append(f"{test}: mean {number(float(varied.mean()))}, lowest {number(float(varied.min()))}")
    return (
        f"{name}, {found[0].n} true statements, AUROC over all blocks and the tokens {N_SHARED} to {N_TOKENS - 1} of "
        f"the answer, on countries not fitted on. {'; '.join(sentences)}. The tokens before are the same in every "
        "statement, so only the instruction varies there: they are drawn and not judged."
    )


def _grid(name: str, test: str, cell: pd.DataFrame) -> Grid:
    shown = cell.sort_values(["block", "token"], ascending=[False, True])
    table = pd.DataFrame(
        {
            "x": ["before" if token < 0 else f"token {token}" for token in shown["token"]],
            "y": shown["block"].astype(str),
            "value": shown["auroc"],
        }
    )
    return Grid(
        name=f"lying-{test.replace(' ', '-')}-{name}",
        title=f"Honest against lying, read in {test}, {name}"
        if test != TWO_HONEST
        else f"Two honest instructions against each other, {name}",
        x_label="token of the answer; before: the last of the prompt",
        y_label="block (resid_post)",
        value_label="AUROC on countries not fitted on",
        table=table.reset_index(drop=True),
        centre=0.5,
        limits=(0.0, 1.0),
        note="The same true statements follow each instruction; mean difference per block and token. 0.5 is chance.",
    )
