"""Concept mixing on capitals: do things of a country, mixed into one layer, bring that country's capital?

Every effect is what a country's list does to its own capital beyond what control texts do at the same block, source and
factor: unrelated words, and the lists of other countries. Block, source and factor are chosen on half of the lists and
reported on the other half, the controls too; both halves share the prompts and the unrelated words.

Mixing works at one block and not at its neighbour when the neighbour has less than half of the best block's effect.
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
from rheostat.studies.curve import curve
from rheostat.studies.decoding.cells import output_log_probabilities
from rheostat.studies.decoding.mixing import SOURCES, Dial, mixing, mixing_vectors
from rheostat.studies.decoding.planted import saying_edits
from rheostat.studies.decoding.sweep import OTHERS, UNRELATED, Sweep, measure_dials
from rheostat.studies.judging import held, interval, judge, measurement, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.vocabulary import single_token

CLAIM = "decode-7"
STATEMENT = (
    "Mixing works at one layer and not at its neighbour: Croissant, Cheese, Baguette gives Paris and France at "
    "layer 14 and nothing French at 13."
)
FACTORS: Mapping[str, tuple[float, ...]] = {"attn_out": (0.7, 3.0, 13.0), "resid_mid": (0.3, 0.7)}
"""0.7 is the post's factor, 13 its author's earlier one for the pure attention output."""
FACTORS_QUICK: Mapping[str, tuple[float, ...]] = {"attn_out": (3.0,), "resid_mid": (0.7,)}
N_PROMPTS = 2
NEIGHBOURS = {"before": -1, "after": 1}


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

    def text_of(self, concept: str) -> str:
        """Return a concept's list."""
        return next(one.text for one in self.lists if one.concept == concept)


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
    `probability` of the target's capital and `plain`, without mixing. When quick, the later half of the blocks.
    """
    task = build_task(model, n_prompts=1 if context.quick else N_PROMPTS)
    vectors = mixing_vectors(model, task.texts)
    tokens = [*task.targets, *task.answers]
    plain = output_log_probabilities(model, task.prompts, tokens=tokens)
    pairs = [(text, index) for index in range(len(task.prompts)) for text in task.texts]
    prompts = [task.prompts[index] for _, index in pairs]

    def at_dial(dial: Dial) -> pd.DataFrame:
        plans = [mixing(vectors, text, dial) for text, _ in pairs]
        logs = output_log_probabilities(model, prompts, plans=plans, tokens=tokens)
        rows = zip(pairs, logs, strict=True)
        return pd.concat([_rows(task, text, index, dial, row, plain[index]) for (text, index), row in rows])

    n = model.n_blocks
    return measure_dials(
        model,
        context,
        f"capitals-{model.name}",
        factors=FACTORS_QUICK if context.quick else FACTORS,
        blocks=range(n // 2, n) if context.quick else range(n),
        at_dial=at_dial,
        inputs={"task": asdict(task), "texts": task.texts},
    )


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
    task = build_task(model, n_prompts=1)

    def compute() -> pd.DataFrame:
        dial, plans = saying_edits(model, task.prompts[0], [[token] for token in task.targets])
        tokens = [*task.targets, task.answers[0]]
        plain = output_log_probabilities(model, task.prompts, tokens=tokens)[0]
        logs = output_log_probabilities(model, [task.prompts[0]] * len(plans), plans=plans, tokens=tokens)
        tables = [_rows(task, one.text, 0, dial, row, plain) for one, row in zip(task.lists, logs, strict=True)]
        return pd.concat(tables, ignore_index=True)

    return context.step(f"planted-capitals-{model.name}", step_params(model, context, task=asdict(task)), compute)


def measure_texts(model: Model, context: Context, dials: Mapping[str, Dial]) -> pd.DataFrame:
    """Return greedy continuations of the first prompt under each list, each at the dial that the other lists chose."""
    task = build_task(model, n_prompts=1)

    def compute() -> pd.DataFrame:
        vectors = mixing_vectors(model, task.texts)
        chosen = list(dials.items())
        plans = [mixing(vectors, task.text_of(concept), dial) for concept, dial in chosen]
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

    chosen_dials = {concept: str(dial) for concept, dial in dials.items()}
    params = step_params(model, context, dials=chosen_dials, task=asdict(task), texts=task.texts)
    return context.step(f"capitals-texts-{model.name}", params, compute)


# --- analysing --------------------------------------------------------------------------------------------------------


def measure_all(name: str, sweep: Sweep, seed: int, source: str) -> list[Measurement]:
    """Return the effect at the dial chosen on the other lists against both controls, and half of it against neighbours.

    A neighbouring block counts where it was tried; at the end of the network there is none.
    """
    rows: dict[str, list[Values]] = {key: [] for key in (OTHERS, UNRELATED, "here", *NEIGHBOURS)}
    for index, reporting in sweep.held_out("shift", source=source):
        for key in (OTHERS, UNRELATED):
            rows[key].append(sweep.beyond("shift", reporting, [key])[:, :, index])
        every = sweep.beyond("shift", reporting)
        rows["here"].append(every[:, :, index])
        for key, step in NEIGHBOURS.items():
            other = sweep.neighbour(index, step)
            rows[key].append(every[:, :, other] if other is not None else np.full(every.shape[:2], np.nan))
    flat = {key: np.concatenate(values).mean(axis=1) for key, values in rows.items()}
    found = [
        measurement(
            name,
            f"log-odds shift towards the list's own capital, {source}",
            bootstrap_mean(flat[key], seed=seed),
            control=0.0,
            unit="word lists",
            control_name=f"{key} at the same block and factor",
        )
        for key in (OTHERS, UNRELATED)
    ]
    for key in NEIGHBOURS:
        known = np.isfinite(flat[key])
        if known.sum() >= 2:
            found.append(
                measurement(
                    name,
                    f"half of that shift, {source}",
                    paired_difference(flat["here"][known] / 2, flat[key][known], seed=seed),
                    control=float(flat[key][known].mean()),
                    unit="word lists",
                    control_name=f"the whole shift one block {key}",
                )
            )
    return found


def planted_found(table: pd.DataFrame, seed: int) -> Measurement:
    """Return the shift of the planted directions towards their own capitals."""
    return measurement(
        "planted",
        "log-odds shift towards the planted capital",
        bootstrap_mean(Sweep.of(table, "shift").beyond("shift", controls=[OTHERS])[:, 0, 0], seed=seed),
        control=0.0,
        unit="capitals",
        control_name="the other capitals' directions",
    )


def run(context: Context) -> Part:
    """Measure all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    planted = {model.name: planted_found(measure_planted(model, context), context.seed) for model in context.models}
    sweeps = {name: Sweep.of(table, "shift", "odds") for name, table in tables.items()}
    texts = {model.name: measure_texts(model, context, sweeps[model.name].dial_of("shift")) for model in context.models}
    found = {
        name: {source: measure_all(name, sweep, context.seed, source) for source in SOURCES}
        for name, sweep in sweeps.items()
    }
    deciding = [one for by_source in found.values() for measured in by_source.values() for one in measured]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=all(one.low > 0 for one in planted.values())),
        reason=f"{held(deciding)} A neighbouring block counts as not working when it has less than half of the best "
        "block's shift. Planted directions that say a capital, added at the middle block, shift the log-odds by "
        + "; ".join(f"{name} {number(one.effect)} {interval(one)}" for name, one in planted.items())
        + ".",
        measurements=tuple(deciding),
    )
    figures: list[Figure] = []
    for name, sweep in sweeps.items():
        figures += [_profile(name, sweep, context.seed), _grid(name, sweep)]
    section = Section(
        heading="Concept mixing on capitals",
        text="\n\n".join(_describe(name, sweep, found[name]) for name, sweep in sweeps.items()),
        figures=tuple(figure.name for figure in figures),
        tables=("capitals-texts",),
    )
    return Part((section,), {"capitals": joined(tables), "capitals-texts": joined(texts)}, tuple(figures), (verdict,))


def _describe(name: str, sweep: Sweep, found: Mapping[str, Sequence[Measurement]]) -> str:
    odds, held_out = sweep.own_values("odds"), sweep.held_out("shift")
    won = [(odds[reporting, :, index] > 0).mean() for index, reporting in held_out]
    dials = " and ".join(dict.fromkeys(str(sweep.dials[index]) for index, _ in held_out))
    said = []
    for source, (others, _, *neighbours) in found.items():
        places = ", ".join(
            f"{number(one.control)} {one.control_name.removeprefix('the whole shift ')}" for one in neighbours
        )
        sharp = all(one.low > 0 for one in neighbours)
        said.append(
            f"Mixing in {source} shifts the log-odds towards the list's own capital by {number(others.effect)} nats "
            f"{interval(others)} more than other countries' lists do; beside it {places or 'no block'}: "
            f"{'less' if sharp else 'not clearly less'} than half."
        )
    return (
        f"{name}, {len(sweep.concepts)} lists × {len(sweep.prompts)} prompts. The halves of the lists choose {dials}; "
        f"there the list's own capital becomes likelier than the prompt's in {np.mean(won):.0%} of the cases of the "
        f"lists that did not choose. {' '.join(said)}"
    )


def _profile(name: str, sweep: Sweep, seed: int) -> Profile:
    rows: list[dict[str, object]] = []
    mean = sweep.beyond("shift").mean(axis=1)
    for index, dial in enumerate(sweep.dials):
        rows += curve(f"{dial.source} × {dial.factor:g}", [(dial.block, mean[:, index])], seed)
    return Profile(
        name=f"capitals-{name}",
        title=f"Mixing a country's things into {name}",
        x_label="block of the mixing",
        y_label="log-odds shift to its capital beyond controls (nats)",
        table=pd.DataFrame(rows),
        note=f"n = {len(sweep.concepts)} word lists, {len(sweep.prompts)} prompts, 95 % bootstrap "
        "intervals; controls: unrelated words and other countries' lists in the same place.",
        reference={"no effect": 0.0},
    )


def _grid(name: str, sweep: Sweep) -> Grid:
    best = sweep.dials[sweep.best_dial("shift")]
    mean = sweep.beyond("shift").mean(axis=1)
    rows = [
        {"x": concept, "y": sweep.dials[i].block, "value": mean[row, i]}
        for i in reversed(sweep.alike(best))
        for row, concept in enumerate(sweep.concepts)
    ]
    return Grid(
        name=f"capitals-lists-{name}",
        title=f"Each country's list in {name}, {best.source} × {best.factor:g}",
        x_label="country of the list",
        y_label="block of the mixing",
        value_label="log-odds shift to its capital beyond controls (nats)",
        table=pd.DataFrame(rows),
        note=f"Mean over n = {len(sweep.prompts)} prompts; the source and factor with the largest effect.",
        centre=0.0,
    )
