"""Concept mixing on capitals: do things of a country, mixed into one layer, bring that country's capital?

Every effect is what a country's list does to its own capital beyond what control texts do at the same block, source and
factor: unrelated words, and the lists of other countries. Block, source and factor are chosen on half of the lists and
reported on the other half.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch

from rheostat.base.shapes import Figure, Grid, Profile
from rheostat.data.relations import COUNTRIES, Country
from rheostat.data.word_lists import CAPITAL_PROMPTS, COUNTRY_LISTS, UNRELATED_LISTS, MixingList
from rheostat.metrics.statistics import Values, bootstrap_mean, paired_difference
from rheostat.model import Model
from rheostat.studies.decoding.cells import Cell, capture_cells, output_log_probabilities
from rheostat.studies.decoding.judging import held, judge, measurement, number
from rheostat.studies.decoding.mixing import (
    SOURCES,
    Dial,
    Vectors,
    adding,
    all_dials,
    dials_of,
    mixing,
    mixing_vectors,
    specific,
)
from rheostat.studies.decoding.part import Part, joined, step_params
from rheostat.studies.decoding.planted import saying_direction
from rheostat.studies.decoding.vocabulary import single_token
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

CLAIM = "decode-7"
STATEMENT = (
    "Mixing works at one layer and not at its neighbour: Croissant, Cheese, Baguette gives Paris and France at "
    "layer 14 "
    "and nothing French at 13."
)
FACTORS: Mapping[str, tuple[float, ...]] = {"attn_out": (0.7, 3.0, 13.0), "resid_mid": (0.3, 0.7)}
"""0.7 is the post's factor, 13 its author's earlier one for the pure attention output."""
FACTORS_QUICK: Mapping[str, tuple[float, ...]] = {"attn_out": (3.0,), "resid_mid": (0.7,)}
N_PROMPTS = 2
UNRELATED, OTHERS = "unrelated words", "other countries' lists"


@dataclass(frozen=True)
class Task:
    """The lists, prompts and targets in one model's tokens."""

    lists: tuple[MixingList, ...]
    targets: tuple[int, ...]
    """Per list, its capital."""
    prompts: tuple[str, ...]
    answers: tuple[int, ...]
    """Per prompt, its own capital."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts that are mixed in: the lists, then the unrelated words."""
        return (*(one.text for one in self.lists), *UNRELATED_LISTS)


def country(name: str) -> Country:
    """Return a country by name."""
    return next(one for one in COUNTRIES if one.name == name)


def build_task(model: Model, *, n_prompts: int) -> Task:
    """Return the lists and prompts whose capitals are single tokens."""
    lists, targets = [], []
    for one in COUNTRY_LISTS:
        token = single_token(model, " " + country(one.concept).capital)
        if token is not None:
            lists.append(one)
            targets.append(token)
    answers = {name: single_token(model, " " + country(name).capital) for name in CAPITAL_PROMPTS}
    usable = {name: token for name, token in answers.items() if token is not None}
    chosen = list(usable)[:n_prompts]
    return Task(
        tuple(lists),
        tuple(targets),
        tuple(f"The capital of {name} is" for name in chosen),
        tuple(usable[name] for name in chosen),
    )


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per mixing text, prompt, dial and capital.

    Columns: text, concept (empty for unrelated words), prompt, block, source, factor, target (a country); `shift`:
    how far the log-odds of the target's capital against the prompt's own answer moved; `odds`: where they ended up;
    `probability` of the target's capital and `plain`, without mixing.
    """
    factors = FACTORS_QUICK if context.quick else FACTORS
    every = 2 if context.quick else 1
    task = build_task(model, n_prompts=1 if context.quick else N_PROMPTS)
    vectors = mixing_vectors(model, task.texts)
    plain = output_log_probabilities(model, task.prompts, tokens=[*task.targets, *task.answers])
    jobs = [(source, factor) for source in SOURCES for factor in factors[source]]
    tables = []
    for source, factor in context.progress(jobs, f"mixing countries, {model.name}"):
        dials = all_dials(model, source, factor, every=every)

        def compute(dials: Sequence[Dial] = dials) -> pd.DataFrame:
            return pd.concat([table for dial in dials for table in _mixed(model, task, vectors, dial, plain)])

        params = step_params(model, context, dials=[str(dial) for dial in dials], task=asdict(task))
        tables.append(context.step(f"capitals-{model.name}", params, compute))
    return pd.concat(tables, ignore_index=True)


def _mixed(model: Model, task: Task, vectors: Vectors, dial: Dial, plain: torch.Tensor) -> list[pd.DataFrame]:
    """Run every text on every prompt at one dial."""
    pairs = [(text, index) for index in range(len(task.prompts)) for text in task.texts]
    logs = output_log_probabilities(
        model,
        [task.prompts[index] for _, index in pairs],
        plans=[mixing(vectors, text, dial) for text, _ in pairs],
        tokens=[*task.targets, *task.answers],
    )
    return [_rows(task, text, index, dial, row, plain[index]) for (text, index), row in zip(pairs, logs, strict=True)]


def _rows(task: Task, text: str, index: int, dial: Dial, mixed: torch.Tensor, plain: torch.Tensor) -> pd.DataFrame:
    n = len(task.targets)
    answer = n + index
    odds = mixed[:n] - mixed[answer]
    concept = next((one.concept for one in task.lists if one.text == text), "")
    return pd.DataFrame(
        {
            "text": text,
            "concept": concept,
            "prompt": task.prompts[index],
            "block": dial.block,
            "source": dial.source,
            "factor": dial.factor,
            "target": [one.concept for one in task.lists],
            "shift": (odds - (plain[:n] - plain[answer])).numpy(),
            "odds": odds.numpy(),
            "probability": mixed[:n].exp().numpy(),
            "plain": plain[:n].exp().numpy(),
        }
    )


def measure_planted(model: Model, context: Context) -> pd.DataFrame:
    """Return the shifts when a direction that says the capital is added in the middle of the network.

    Its length is that of the residual stream there; controls are the directions of the other capitals.
    """
    block = model.n_blocks // 2

    def compute() -> pd.DataFrame:
        task = build_task(model, n_prompts=1)
        near = capture_cells(model, task.prompts, [Cell(block, "resid_mid")])[0, 0]
        dial = Dial(block, "resid_mid", float(near.norm()))
        plans = [adding(saying_direction(model, [token], near), dial) for token in task.targets]
        tokens = [*task.targets, task.answers[0]]
        plain = output_log_probabilities(model, task.prompts, tokens=tokens)[0]
        logs = output_log_probabilities(model, [task.prompts[0]] * len(plans), plans=plans, tokens=tokens)
        tables = [_rows(task, one.text, 0, dial, row, plain) for one, row in zip(task.lists, logs, strict=True)]
        return pd.concat(tables, ignore_index=True)

    return context.step(f"planted-capitals-{model.name}", step_params(model, context, block=block), compute)


def measure_texts(model: Model, context: Context, dials: Mapping[str, Dial]) -> pd.DataFrame:
    """Return greedy continuations of the first prompt under each list, each at the dial that the other lists chose."""

    def compute() -> pd.DataFrame:
        task = build_task(model, n_prompts=1)
        vectors = mixing_vectors(model, task.texts)
        chosen = list(dials.items())
        plans = [
            mixing(vectors, next(one.text for one in task.lists if one.concept == concept), dial)
            for concept, dial in chosen
        ]
        unrelated = mixing(vectors, UNRELATED_LISTS[0], chosen[0][1])
        out = model.generate([task.prompts[0]] * (len(plans) + 2), plans=[*plans, unrelated, []], max_new_tokens=12)
        return pd.DataFrame(
            {
                "prompt": task.prompts[0],
                "mixed in": [*dials, UNRELATED_LISTS[0], "nothing"],
                "dial": [*map(str, dials.values()), str(chosen[0][1]), ""],
                "continuation": out.texts,
            }
        )

    params = step_params(model, context, dials={name: str(dial) for name, dial in dials.items()})
    return context.step(f"capitals-texts-{model.name}", params, compute)


# --- analysing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Effects:
    """One model's specific effects, (list, prompt, dial)."""

    concepts: tuple[str, ...]
    prompts: tuple[str, ...]
    dials: tuple[Dial, ...]
    against: Mapping[str, Values]
    """Control → log-odds shift beyond it."""
    probability: Values
    """Probability of the own capital beyond the mean of all controls."""
    odds: Values
    """Log-odds of the own capital against the prompt's answer, with the own list mixed in."""

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Effects":
        """Unfold the long table."""
        concepts = tuple(table["target"].drop_duplicates())
        prompts = tuple(table["prompt"].drop_duplicates())
        texts = list(table["text"].drop_duplicates())
        concept_of = dict(zip(table["text"], table["concept"], strict=True))
        dials = dials_of(table)
        shape = (len(dials), len(prompts), len(texts), len(concepts))

        def unfolded(name: str) -> Values:
            return table[name].to_numpy(dtype=float).reshape(shape).transpose(2, 3, 1, 0)

        own = [next(row for row, text in enumerate(texts) if concept_of[text] == concept) for concept in concepts]
        unrelated = [row for row, text in enumerate(texts) if concept_of[text] == ""]
        others = [
            [row for row, text in enumerate(texts) if concept_of[text] not in ("", concept)] for concept in concepts
        ]
        every = [[*unrelated, *rows] for rows in others]
        shift, probability = unfolded("shift"), unfolded("probability")
        against = {OTHERS: specific(shift, own, others)}
        if unrelated:
            against[UNRELATED] = specific(shift, own, [unrelated] * len(concepts))
        odds = np.stack([unfolded("odds")[text, index] for index, text in enumerate(own)])
        return cls(concepts, prompts, dials, against, specific(probability, own, every), odds)

    @property
    def beyond(self) -> Values:
        """Log-odds shift beyond the mean over the kinds of control."""
        return np.asarray(np.mean(list(self.against.values()), axis=0))

    def halves(self) -> list[tuple[list[int], list[int]]]:
        """Return (lists to choose on, lists to report on) twice, the halves exchanged."""
        even, odd = list(range(0, len(self.concepts), 2)), list(range(1, len(self.concepts), 2))
        return [(even, odd), (odd, even)]

    def best_dial(self, lists: Sequence[int], source: str | None = None) -> int:
        """Return the dial with the largest mean shift beyond the controls over some lists."""
        gain = self.beyond[list(lists)].mean(axis=(0, 1))
        allowed = np.array([source in (None, dial.source) for dial in self.dials])
        return int(np.where(allowed, gain, -np.inf).argmax())

    def dial_of(self) -> dict[str, Dial]:
        """Return, per list's concept, the dial that the other half of the lists chose."""
        chosen = {}
        for choose, report in self.halves():
            dial = self.dials[self.best_dial(choose)]
            chosen.update({self.concepts[row]: dial for row in report})
        return {concept: chosen[concept] for concept in self.concepts}

    def neighbour(self, index: int, step: int) -> int | None:
        """Return the same dial one tried block earlier (−1) or later (+1)."""
        here = self.dials[index]
        blocks = sorted(dial.block for dial in self.dials if (dial.source, dial.factor) == (here.source, here.factor))
        place = blocks.index(here.block) + step
        if not 0 <= place < len(blocks):
            return None
        return self.dials.index(Dial(blocks[place], here.source, here.factor))


def measure_all(name: str, effects: Effects, seed: int, source: str) -> list[Measurement]:
    """Return the effect at the dial chosen on the other lists, and its fall to the neighbouring blocks."""
    rows: dict[str, list[Values]] = {key: [] for key in (*effects.against, "here", "before", "after")}
    mean = effects.beyond
    for choose, report in effects.halves():
        index = effects.best_dial(choose, source)
        for key, values in effects.against.items():
            rows[key].append(values[report, :, index])
        here = mean[report, :, index]
        rows["here"].append(here)
        for key, step in (("before", -1), ("after", 1)):
            other = effects.neighbour(index, step)
            rows[key].append(mean[report, :, other] if other is not None else np.full_like(here, np.nan))
    flat = {key: np.concatenate(values).mean(axis=1) for key, values in rows.items()}
    quantity = f"log-odds shift towards the list's own capital, {source}"
    found = [
        measurement(
            name,
            quantity,
            bootstrap_mean(flat[key], seed=seed),
            control=0.0,
            unit="word lists",
            control_name=f"{key} at the same block and factor",
        )
        for key in effects.against
    ]
    for key in ("before", "after"):
        known = np.isfinite(flat[key])
        if known.sum() >= 2:
            found.append(
                measurement(
                    name,
                    f"the same at the best block, {source}",
                    paired_difference(flat["here"][known], flat[key][known], seed=seed),
                    control=float(flat[key][known].mean()),
                    unit="word lists",
                    control_name=f"the neighbouring block {key}",
                )
            )
    return found


def planted_found(table: pd.DataFrame, seed: int) -> Measurement:
    """Return the specific shift of the planted directions."""
    effects = Effects.of(table)
    return measurement(
        "planted",
        "log-odds shift towards the planted capital",
        bootstrap_mean(effects.against[OTHERS][:, 0, 0], seed=seed),
        control=0.0,
        unit="capitals",
        control_name="the other capitals' directions",
    )


def run(context: Context) -> Part:
    """Measure all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    planted = {model.name: planted_found(measure_planted(model, context), context.seed) for model in context.models}
    effects = {name: Effects.of(table) for name, table in tables.items()}
    texts = {model.name: measure_texts(model, context, effects[model.name].dial_of()) for model in context.models}
    every: list[Measurement] = []
    deciding: list[Measurement] = []
    for name, found in effects.items():
        for source in SOURCES:
            measured = measure_all(name, found, context.seed, source)
            every += measured
            deciding += [one for one in measured if not one.control_name.endswith("after")]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=all(one.low > 0 for one in planted.values())),
        reason=f"{held(deciding)} Planted directions that say a capital, added at the middle block, shift the "
        f"log-odds by "
        + "; ".join(
            f"{name} {number(one.effect)} [{number(one.low)}, {number(one.high)}]" for name, one in planted.items()
        )
        + ".",
        measurements=tuple(every),
    )
    figures: list[Figure] = []
    for name, found in effects.items():
        figures += [_profile(name, found, context.seed), _grid(name, found)]
    section = Section(
        heading="Concept mixing on capitals",
        text="\n\n".join(_describe(name, found, every) for name, found in effects.items()),
        figures=tuple(figure.name for figure in figures),
        tables=("capitals-texts",),
    )
    return Part((section,), {"capitals": joined(tables), "capitals-texts": joined(texts)}, tuple(figures), (verdict,))


def _describe(name: str, effects: Effects, every: Sequence[Measurement]) -> str:
    dials = [effects.dials[effects.best_dial(choose)] for choose, _ in effects.halves()]
    won = [(effects.odds[report, :, effects.best_dial(choose)] > 0).mean() for choose, report in effects.halves()]
    mine = " ".join(
        f"{one.quantity}: {number(one.effect)}, against {one.control_name} {number(one.control)} (difference "
        f"[{number(one.low)}, {number(one.high)}])."
        for one in every
        if one.model == name
    )
    return (
        f"{name}, {len(effects.concepts)} lists × {len(effects.prompts)} prompts. The best dial by one half of "
        f"the lists "
        f"is {dials[0]}, by the other {dials[1]}; with it the list's own capital becomes likelier than the prompt's in "
        f"{np.mean(won):.0%} of the cases of the lists that did not choose. {mine}"
    )


def _profile(name: str, effects: Effects, seed: int) -> Profile:
    rows = []
    mean = effects.beyond.mean(axis=1)
    for index, dial in enumerate(effects.dials):
        interval = bootstrap_mean(mean[:, index], seed=seed)
        rows.append(
            {
                "x": dial.block,
                "value": interval.value,
                "low": interval.low,
                "high": interval.high,
                "series": f"{dial.source} × {dial.factor:g}",
            }
        )
    return Profile(
        name=f"capitals-{name}",
        title=f"Mixing a country's things into {name}",
        x_label="block of the mixing",
        y_label="log-odds shift to its capital beyond controls (nats)",
        table=pd.DataFrame(rows),
        note=f"n = {len(effects.concepts)} word lists, {len(effects.prompts)} prompts, 95 % bootstrap "
        f"intervals; controls: "
        "unrelated words and other countries' lists in the same place.",
        reference={"no effect": 0.0},
    )


def _grid(name: str, effects: Effects) -> Grid:
    index = effects.best_dial(range(len(effects.concepts)))
    best = effects.dials[index]
    chosen = [i for i, dial in enumerate(effects.dials) if (dial.source, dial.factor) == (best.source, best.factor)]
    mean = effects.beyond.mean(axis=1)
    rows = [
        {"x": concept, "y": effects.dials[i].block, "value": mean[row, i]}
        for i in reversed(chosen)
        for row, concept in enumerate(effects.concepts)
    ]
    return Grid(
        name=f"capitals-lists-{name}",
        title=f"Each country's list in {name}, {best.source} × {best.factor:g}",
        x_label="country of the list",
        y_label="block of the mixing",
        value_label="log-odds shift to its capital beyond controls (nats)",
        table=pd.DataFrame(rows),
        note=f"Mean over n = {len(effects.prompts)} prompts; the source and factor with the largest effect.",
        centre=0.0,
    )
