"""Is a scenario's happiness read where the template asks for it, over most blocks, and does it go with the answer?

One direction per block is fitted at the end of the template that asks for happiness, and read in held-out scenarios at
that end, at the end of a template that asks for an unrelated quantity, and at the scenario's last token.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rheostat.base.shapes import Profile
from rheostat.data.happiness import HAPPY, UNHAPPY
from rheostat.directions.methods.registry import find_method
from rheostat.directions.texts import LabelledTexts, texts_of_pairs
from rheostat.metrics.statistics import Values, bootstrap, spearman
from rheostat.model import Model
from rheostat.studies.judging import held, judge, measurement, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.repe.auroc_by_group import auroc_against, auroc_draws, interval_of
from rheostat.studies.repe.concepts import HAPPINESS, Concept, asking, happiness
from rheostat.studies.repe.cross_fit import fit_and_score, folds_of
from rheostat.studies.repe.read_concepts import lens_scores
from rheostat.studies.repe.states import EMBEDDING, States, states_of
from rheostat.studies.study import Context

CLAIM = "repe-4"
STATEMENT = (
    "Where the template asks for the amount of happiness, the direction is close to the state when the scenario "
    "is happy, over most layers."
)
UNRELATED = "traffic"
HERE, ELSEWHERE, BEFORE, SHUFFLED, ANSWER = (
    "end of the template",
    "end of a template on traffic",
    "end of the scenario",
    "shuffled labels",
    "the model's answer",
)


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per place, block and scenario: its score there; for the answer, log-odds of high against low."""
    limit = 12 if context.quick else len(HAPPY)
    concept = happiness(limit=limit)

    def compute() -> pd.DataFrame:
        return _read(model, concept, limit, context.seed)

    params = step_params(model, context, pairs=[(one.positive, one.negative) for one in concept.pairs], other=UNRELATED)
    return context.step(f"template-{model.name}", params, compute)


def _read(model: Model, concept: Concept, limit: int, seed: int) -> pd.DataFrame:
    texts = texts_of_pairs(model, concept.pairs)
    scenarios = [one for pair in zip(HAPPY[:limit], UNHAPPY[:limit], strict=True) for one in pair]
    states = {
        HERE: states_of(model, texts.texts),
        ELSEWHERE: states_of(model, [asking(UNRELATED, one) for one in scenarios]),
        BEFORE: states_of(model, [asking(HAPPINESS, one).partition(one)[0] + one for one in scenarios]),
    }
    scores = read_elsewhere(states, texts, seed)
    answer = lens_scores(model, States((model.n_blocks - 1,), states[HERE].values[-1:]), concept.words)
    rows = [
        pd.DataFrame({"place": place, "block": block, "text": range(len(texts.texts)), "score": of_block})
        for place, of_place in scores.items()
        for block, of_block in zip(states[HERE].blocks, of_place, strict=True)
    ]
    rows.append(pd.DataFrame({"place": ANSWER, "block": EMBEDDING, "text": range(len(answer[0])), "score": answer[0]}))
    table = pd.concat(rows, ignore_index=True)
    return table.assign(group=texts.groups[table["text"]], positive=texts.positive[table["text"]])


def read_elsewhere(states: Mapping[str, States], texts: LabelledTexts, seed: int) -> dict[str, Values]:
    """Fit at the first place on some groups, and read the others there and at the other places: (site, text) each.

    Scores of each place are counted from that place's own mean over the fitted texts.
    """
    fold, method = folds_of(texts, seed), find_method("mean_difference")
    home, *others = states
    found = {place: np.empty(states[home].values.shape[:2]) for place in (*states, SHUFFLED)}
    order = np.ones(len(texts.texts) // 2)
    flipped = np.repeat(np.random.default_rng(seed).permutation(len(order)) < len(order) // 2, 2)
    labels = np.stack([texts.positive, texts.positive ^ flipped])
    n = len(texts.texts)
    for one in np.unique(fold):
        fit, test = fold != one, fold == one
        scored = fit_and_score(states[home], method, labels, order, fit, test)
        found[home][:, test], found[SHUFFLED][:, test] = scored
        for place in others:
            both = States(states[home].blocks, np.concatenate([states[home].values, states[place].values], axis=1))
            here, there = np.concatenate([fit, np.zeros(n, bool)]), np.concatenate([np.zeros(n, bool), fit | test])
            doubled = np.tile(texts.positive, (1, 2))
            read = fit_and_score(both, method, doubled, np.ones(n), here, there)[0]
            found[place][:, test] = (read - read[:, fit].mean(1, keepdims=True))[:, test]
    return found


def scores_at(table: pd.DataFrame, place: str) -> Values:
    """Return scores (block, text) at a place, without the embedding."""
    own = table[(table["place"] == place) & (table["block"] != EMBEDDING)]
    return own.pivot(index="block", columns="text", values="score").to_numpy(dtype=np.float64)


def measure_all(name: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return the AUROC averaged over blocks against the controls, the share of blocks, and the tie to the answer."""
    first = table.drop_duplicates("text").sort_values("text")
    positive, groups = first["positive"].to_numpy(dtype=bool), first["group"].to_numpy(dtype=np.int64)
    here = scores_at(table, HERE)
    controls = {place: scores_at(table, place) for place in (ELSEWHERE, BEFORE, SHUFFLED)}
    found = auroc_against(
        name,
        "AUROC of happiness, mean over blocks",
        here,
        controls,
        positive,
        groups,
        unit="pairs of scenarios",
        seed=seed,
    )
    answer = table[table["place"] == ANSWER].sort_values("text")["score"].to_numpy(dtype=np.float64)
    units = np.concatenate([here, answer[None]]).T.reshape(len(np.unique(groups)), -1)

    def tie(drawn: Values) -> float:
        values = drawn.reshape(-1, len(here) + 1).T
        return float(spearman(values[:-1], np.broadcast_to(values[-1], values[:-1].shape)).mean())

    tied = bootstrap(tie, units, seed=seed, draws=1000)
    found.append(
        measurement(
            name,
            "rank correlation of score and answer, mean over blocks",
            tied,
            control=0.0,
            unit="pairs of scenarios",
            control_name="none",
        )
    )
    return found


def run(context: Context) -> Part:
    """Read scenarios at the end of the template on all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    found = {name: measure_all(name, table, context.seed) for name, table in tables.items()}
    deciding = [one for measured in found.values() for one in measured]
    figures = tuple(_profile(name, table, context.seed) for name, table in tables.items())
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=False),
        reason=f"{held(deciding)} The same direction is read at each place; places are compared over all blocks "
        "at once, so that no block is chosen.",
        measurements=tuple(deciding),
    )
    section = Section(
        heading="Where a template is read",
        text="\n\n".join(_describe(name, tables[name], found[name], context.seed) for name in tables),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), {"template-end": joined(tables)}, figures, (verdict,))


def _by_block(table: pd.DataFrame, place: str, seed: int) -> list[dict[str, object]]:
    first = table.drop_duplicates("text").sort_values("text")
    positive, groups = first["positive"].to_numpy(dtype=bool), first["group"].to_numpy(dtype=np.int64)
    rows: list[dict[str, object]] = []
    for block, scores in enumerate(scores_at(table, place)):
        value, drawn = auroc_draws(scores[None], positive, groups, seed=seed)
        one = interval_of(value, drawn, len(np.unique(groups)))
        rows.append({"x": block, "value": value, "low": one.low, "high": one.high, "series": place})
    return rows


def _describe(name: str, table: pd.DataFrame, found: list[Measurement], seed: int) -> str:
    rows = _by_block(table, HERE, seed)
    clear = sum(float(str(row["low"])) > 0.5 for row in rows)
    controls = ", ".join(f"{one.control_name} {number(one.control)}" for one in found[:-1])
    tie = found[-1]
    return (
        f"{name}. AUROC of happiness in {found[0].n} held-out pairs of scenarios, mean over blocks: "
        f"{number(found[0].effect)} at the end of the template; {controls}. It is above chance with its whole "
        f"interval in {clear} of {len(rows)} blocks. Its rank correlation with the answer (high against low), mean "
        f"over blocks: {number(tie.effect)} [{number(tie.low)}, {number(tie.high)}]."
    )


def _profile(name: str, table: pd.DataFrame, seed: int) -> Profile:
    rows = [row for place in (HERE, ELSEWHERE, BEFORE, SHUFFLED) for row in _by_block(table, place, seed)]
    return Profile(
        name=f"template-end-{name}",
        title=f"Happiness read at several places of its template, {name}",
        x_label="block (resid_post)",
        y_label="AUROC in held-out scenarios",
        table=pd.DataFrame(rows),
        note=f"n = {table['text'].nunique()} scenarios in {table['group'].nunique()} pairs; one direction per "
        "block, fitted at the end of the template on other pairs; 95 % bootstrap intervals over pairs.",
        reference={"chance": 0.5},
    )
