"""Concept mixing on topics: do word lists steer what a prompt goes on about, and only up to the block that reads it?

Block, source and factor are chosen with one list per topic on two of the prompts; the other lists, among them the
post's own, are reported on the other prompts. The step at the reading block has its own file, `topic_step`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from rheostat.base.shapes import Figure, Grid, Profile
from rheostat.data.word_lists import TOPIC_LISTS, TOPIC_PROMPTS, TOPIC_WORDS, UNRELATED_LISTS
from rheostat.edit.arithmetic import Add
from rheostat.metrics.statistics import Values, paired_difference
from rheostat.model import Model
from rheostat.studies.curve import curve
from rheostat.studies.decoding.cells import all_cells, capture_cells, lens_ranks, output_log_probabilities
from rheostat.studies.decoding.continuations import (
    NEW_TOKENS,
    TEMPERATURE,
    continuations,
    distinct_words,
    surprise,
)
from rheostat.studies.decoding.mixing import SOURCES, Dial, adding, mixing, mixing_vectors
from rheostat.studies.decoding.planted import saying_edits
from rheostat.studies.decoding.sweep import Sweep, measure_dials
from rheostat.studies.decoding.topic_step import (
    PLANTED_STEP,
    READ_TOP,
    deciding_of,
    first_read,
    step_at_reading,
    steps_at_reading,
    with_planted_step,
)
from rheostat.studies.judging import held, interval, judge, measurement, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.vocabulary import group_tokens, single_token

STATEMENTS = {
    "decode-9": (
        "Attention at layer 16 brings in the topic (jobs, for a prompt on the impact of AI), and mixing before "
        "that layer redirects the completion."
    ),
    "decode-10": (
        "At that layer word lists steer predictably with one factor, .7: bananas to agriculture, circus to "
        "entertainment, boxing to sports, cooking to food, plain is healthcare (4 of 4)."
    ),
}
FACTORS: Mapping[str, tuple[float, ...]] = {"attn_out": (0.7, 3.0), "resid_mid": (0.3, 0.7)}
FACTORS_QUICK: Mapping[str, tuple[float, ...]] = {"attn_out": (3.0,), "resid_mid": (0.7,)}
TOPICS = tuple(TOPIC_WORDS)
N_UNRELATED = 1
N_CHOOSING = 2
"""Prompts that the place is chosen on; the others are reported on."""


def choosing_lists() -> list[str]:
    """Return one mixing text per topic, in the order of `TOPICS`: the first of each."""
    return [next(one.text for one in TOPIC_LISTS if one.concept == topic) for topic in TOPICS]


def reporting_lists() -> list[tuple[str, str]]:
    """Return (topic, mixing text) of all other lists."""
    kept = set(choosing_lists())
    return [(one.concept, one.text) for one in TOPIC_LISTS if one.text not in kept]


def prompts_of(*, choosing: bool, quick: bool) -> list[str]:
    """Return the prompts for choosing, or those for reporting; one of them when quick."""
    every = list(TOPIC_PROMPTS)
    half = every[:N_CHOOSING] if choosing else every[N_CHOOSING:]
    return half[:1] if quick else half


def topic_tokens(model: Model) -> list[list[int]]:
    """Return, per topic, the tokens of its words with a leading space."""
    return [
        [token for word in words if (token := single_token(model, " " + word)) is not None]
        for words in TOPIC_WORDS.values()
    ]


def topic_scores(model: Model, prompts: Sequence[str], plans: Sequence[Add | list[Add]]) -> Values:
    """Return the log-probability of each topic's words as the next token, (row, topic)."""
    groups = topic_tokens(model)
    flat = [token for group in groups for token in group]
    logs = output_log_probabilities(model, prompts, plans=plans, tokens=flat)
    parts = logs.split([len(group) for group in groups], dim=-1)
    return np.asarray(torch.stack([part.logsumexp(-1) for part in parts], dim=-1).double().numpy())


# --- measuring --------------------------------------------------------------------------------------------------------


def measure_sweep(model: Model, context: Context, *, choosing: bool) -> pd.DataFrame:
    """Return one row per mixing text, choosing or reporting prompt, dial and topic: the gain of its words in nats.

    Columns: text, concept (the list's topic; empty for unrelated words), prompt, block, source, factor, target (a
    topic), `gain`, `probability` and `plain` (the probability without mixing).
    """
    prompts = prompts_of(choosing=choosing, quick=context.quick)
    texts = [*choosing_lists(), *UNRELATED_LISTS[:N_UNRELATED]]
    topic_of = dict(zip(texts, TOPICS, strict=False))
    vectors = mixing_vectors(model, texts)
    plain = topic_scores(model, prompts, [[] for _ in prompts])
    pairs = [(text, index) for index in range(len(prompts)) for text in texts]

    def at_dial(dial: Dial) -> pd.DataFrame:
        plans = [mixing(vectors, text, dial) for text, _ in pairs]
        scores = topic_scores(model, [prompts[index] for _, index in pairs], plans)
        tables = [
            pd.DataFrame(
                {
                    "text": text,
                    "concept": topic_of.get(text, ""),
                    "prompt": prompts[index],
                    "block": dial.block,
                    "source": dial.source,
                    "factor": dial.factor,
                    "target": TOPICS,
                    "gain": score - plain[index],
                    "probability": np.exp(score),
                    "plain": np.exp(plain[index]),
                }
            )
            for (text, index), score in zip(pairs, scores, strict=True)
        ]
        return pd.concat(tables)

    n = model.n_blocks
    return measure_dials(
        model,
        context,
        f"topics-{model.name}",
        factors=FACTORS_QUICK if context.quick else FACTORS,
        blocks=range((n - 1) % 3, n, 3) if context.quick else range(n),
        at_dial=at_dial,
        inputs={"prompts": prompts, "texts": texts, "words": TOPIC_WORDS},
    )


def measure_readings(model: Model, context: Context) -> pd.DataFrame:
    """Return, per prompt and block, the best rank of the prompt's own topic words in the attention output."""
    prompts = [one for choosing in (True, False) for one in prompts_of(choosing=choosing, quick=context.quick)]

    def compute() -> pd.DataFrame:
        cells = all_cells(model, ["attn_out"])
        states = capture_cells(model, prompts, cells)
        tables = []
        for index, prompt in enumerate(prompts):
            spelled = set(model.encode(prompt))
            tokens = [token for token in group_tokens(model, TOPIC_PROMPTS[prompt]) if token not in spelled]
            ranks = lens_ranks(model, states[:, index], [tokens], [])[0][:, 0].numpy()
            tables.append(pd.DataFrame({"prompt": prompt, "block": range(len(cells)), "rank": ranks}))
        return pd.concat(tables, ignore_index=True)

    params = step_params(model, context, words={prompt: TOPIC_PROMPTS[prompt] for prompt in prompts})
    return context.step(f"topic-readings-{model.name}", params, compute)


@dataclass(frozen=True)
class Job:
    """One mixing to report on."""

    kind: str
    """`list`, `unrelated words`, `random vector` or `planted`."""
    topic: str
    text: str
    prompt: str
    plan: tuple[Add, ...]


def report_jobs(model: Model, context: Context, dial: Dial) -> list[Job]:
    """Return the mixings that are reported: lists, unrelated words, and random vectors of each list's length."""
    lists = reporting_lists()
    prompts = prompts_of(choosing=False, quick=context.quick)
    vectors = mixing_vectors(model, [text for _, text in lists] + list(UNRELATED_LISTS))
    rng = torch.Generator().manual_seed(context.seed)
    jobs = []
    for prompt in prompts:
        for topic, text in lists:
            own = vectors[text, dial.block, dial.source]
            noise = torch.randn(own.shape, generator=rng)
            random = adding(noise / noise.norm() * own.norm(), dial)
            jobs.append(Job("list", topic, text, prompt, (mixing(vectors, text, dial),)))
            jobs.append(Job("random vector", topic, text, prompt, (random,)))
        for index, (topic, _) in enumerate(lists):
            other = UNRELATED_LISTS[index % len(UNRELATED_LISTS)]
            jobs.append(Job("unrelated words", topic, other, prompt, (mixing(vectors, other, dial),)))
    return jobs


def measure_report(model: Model, context: Context, dial: Dial, *, write: bool) -> pd.DataFrame:
    """Return, per reported mixing, the gain of every topic, and when asked a sampled continuation with its measures.

    Columns: kind, topic, text, prompt, dial; one column per topic with the gain in log-probability; with `write` also
    `continuation`; `named`: whether it holds a word of the topic; `nll`: nats per token of it under the plain model;
    `distinct`: the share of its words that are different.
    """

    def compute() -> pd.DataFrame:
        jobs = report_jobs(model, context, dial)
        plans = [list(job.plan) for job in jobs]
        prompts = [job.prompt for job in jobs]
        plain = {prompt: topic_scores(model, [prompt], [[]])[0] for prompt in dict.fromkeys(prompts)}
        gains = topic_scores(model, prompts, plans) - np.stack([plain[prompt] for prompt in prompts])
        table = pd.DataFrame(
            {
                "kind": [job.kind for job in jobs],
                "topic": [job.topic for job in jobs],
                "text": [job.text for job in jobs],
                "prompt": prompts,
                "dial": str(dial),
                **{topic: gains[:, index] for index, topic in enumerate(TOPICS)},
            }
        )
        if not write:
            return table
        texts = continuations(model, prompts, plans, context.seed)
        return table.assign(
            continuation=texts,
            named=[float(names_topic(text, job.topic)) for text, job in zip(texts, jobs, strict=True)],
            nll=surprise(model, prompts, texts),
            distinct=[distinct_words(text) for text in texts],
        )

    params = step_params(
        model,
        context,
        dial=str(dial),
        lists=[*reporting_lists(), *UNRELATED_LISTS],
        prompts=prompts_of(choosing=False, quick=context.quick),
        words=TOPIC_WORDS,
        sampling=[NEW_TOKENS, TEMPERATURE] if write else None,
    )
    return context.step(f"topics-report-{dial.source}-{model.name}", params, compute)


def names_topic(text: str, topic: str) -> bool:
    """Tell whether a text holds one of the topic's words."""
    return bool(set(re.findall(r"[a-z]+", text.lower())) & set(TOPIC_WORDS[topic]))


def measure_planted(model: Model, context: Context) -> pd.DataFrame:
    """Return the gains when a direction that says a topic's words is added in the middle of the network."""
    prompt = prompts_of(choosing=False, quick=True)[0]

    def compute() -> pd.DataFrame:
        plans = [[edit] for edit in saying_edits(model, prompt, topic_tokens(model))[1]]
        gains = topic_scores(model, [prompt] * len(plans), plans) - topic_scores(model, [prompt], [[]])
        return pd.DataFrame(gains, columns=list(TOPICS)).assign(topic=TOPICS)

    params = step_params(model, context, prompt=prompt, words=TOPIC_WORDS)
    return context.step(f"planted-topics-{model.name}", params, compute)


# --- analysing --------------------------------------------------------------------------------------------------------


def largest_is_own(table: pd.DataFrame) -> Values:
    """Return, per row, whether the row's topic has the largest gain of all topics."""
    gains = table[list(TOPICS)].to_numpy(dtype=float)
    own = np.array([TOPICS.index(topic) for topic in table["topic"]])
    return np.asarray(gains.argmax(axis=1) == own, dtype=float)


def steering(name: str, report: pd.DataFrame, label: str, seed: int) -> list[Measurement]:
    """Return the share of lists that steer to their own topic, and of continuations that name it, against controls."""
    scored = report.assign(largest=largest_is_own(report))
    found = []
    for column, quantity in (
        ("largest", f"share of lists whose own topic gains most, {label}"),
        ("named", f"share of sampled continuations that name the list's topic, {label}"),
    ):
        if column not in scored:
            continue
        by_list = {
            kind: scored[scored["kind"] == kind].groupby(["topic", _order(scored, kind)])[column].mean()
            for kind in ("list", "random vector", "unrelated words")
        }
        own = by_list["list"].to_numpy(dtype=float)
        for kind in ("random vector", "unrelated words"):
            control = by_list[kind].to_numpy(dtype=float)
            found.append(
                measurement(
                    name,
                    quantity,
                    paired_difference(own, control, seed=seed),
                    control=float(control.mean()),
                    unit="word lists",
                    control_name=f"{kind} in the same place",
                )
            )
    return found


def _order(table: pd.DataFrame, kind: str) -> "pd.Series[int]":
    """Return, per row of a kind, the number of its list within its prompt and topic, to pair controls with lists."""
    return table[table["kind"] == kind].groupby(["prompt", "topic"]).cumcount()


@dataclass(frozen=True)
class Topics:
    """What was measured on one model."""

    sweep: Sweep
    """Over all prompts."""
    dials: Mapping[str, Dial]
    """Source → the dial that the choosing prompts chose."""
    readings: pd.DataFrame
    reports: Mapping[str, pd.DataFrame]
    planted: pd.DataFrame
    table: pd.DataFrame

    @classmethod
    def measure(cls, model: Model, context: Context) -> "Topics":
        """Choose the dials, then measure the rest with them; continuations are written at the best one."""
        choosing = measure_sweep(model, context, choosing=True)
        table = pd.concat([choosing, measure_sweep(model, context, choosing=False)], ignore_index=True)
        chooser = Sweep.of(choosing, "probability")
        best = chooser.dials[chooser.best_dial("probability")]
        dials = {source: chooser.dials[chooser.best_dial("probability", source=source)] for source in SOURCES}
        reports = {
            source: measure_report(model, context, dial, write=source == best.source) for source, dial in dials.items()
        }
        sweep = Sweep.of(table, "gain", "probability")
        readings, planted = measure_readings(model, context), measure_planted(model, context)
        return cls(sweep, dials, readings, reports, planted, table)

    @property
    def read(self) -> dict[str, int]:
        """Prompt → the block that first reads its topic."""
        return first_read(self.readings)


def run(context: Context) -> Part:
    """Measure all models and judge decode-9 and decode-10."""
    found = {model.name: Topics.measure(model, context) for model in context.models}
    figures: list[Figure] = []
    for name, one in found.items():
        figures += [_profile(name, one, context.seed), _grid(name, one.reports)]
    section = Section(
        heading="Concept mixing on topics",
        text="\n\n".join(_describe(name, one, context.seed) for name, one in found.items()),
        figures=tuple(figure.name for figure in figures),
        tables=("topics-report",),
    )
    tables = {
        "topics": joined({name: one.table for name, one in found.items()}),
        "topic-readings": joined({name: one.readings for name, one in found.items()}),
        "topics-report": joined({name: pd.concat(one.reports.values()) for name, one in found.items()}),
    }
    verdicts = (_step_verdict(found, context.seed), _steering_verdict(found, context.seed))
    return Part((section,), tables, tuple(figures), verdicts)


def _step_verdict(found: Mapping[str, Topics], seed: int) -> Verdict:
    every, planted = [], []
    for name, topics in found.items():
        every += steps_at_reading(name, topics.sweep, topics.read, seed)
        stepped = with_planted_step(topics.sweep, topics.read, seed)
        planted += [
            one for measured in steps_at_reading(name, stepped, topics.read, seed) for one in deciding_of(measured)
        ]
    deciding = [one for measured in every for one in deciding_of(measured)]
    shown = sum(one.low > 0 for one in planted)
    prompts = "; ".join(
        f"{len(topics.read)} of {len(topics.sweep.prompts)} on {name}" for name, topics in found.items()
    )
    return Verdict(
        claim="decode-9",
        statement=STATEMENTS["decode-9"],
        verdict=judge(deciding, planted_found=bool(planted) and shown == len(planted)),
        reason=f"{held(deciding)} Of a step's two comparisons the weaker one decides. Prompts whose topic an attention "
        f"output reads: {prompts}; they are few, and the "
        f"intervals cover the lists, not the prompts. Of a gain of {PLANTED_STEP} nats planted up to the reading block "
        f"{shown} of {len(planted)} comparisons are found.",
        measurements=tuple(one for measured in every for one in measured),
    )


def _steering_verdict(found: Mapping[str, Topics], seed: int) -> Verdict:
    deciding = [
        one
        for name, topics in found.items()
        for source in SOURCES
        for one in steering(name, topics.reports[source], source, seed)
    ]
    hits = {name: float(largest_is_own(topics.planted).mean()) for name, topics in found.items()}
    return Verdict(
        claim="decode-10",
        statement=STATEMENTS["decode-10"],
        verdict=judge(deciding, planted_found=all(share > 0.5 for share in hits.values())),
        reason=f"{held(deciding)} Directions that say a topic's words, added at the middle block, make it gain most in "
        + "; ".join(f"{share:.0%} ({name})" for name, share in hits.items())
        + ".",
        measurements=tuple(deciding),
    )


def _describe(name: str, topics: Topics, seed: int) -> str:
    where = ", ".join(str(block) for block in sorted(set(topics.read.values()))) or "none"
    read = f"block(s) {where}, for {len(topics.read)} of {len(topics.sweep.prompts)} prompts"
    parts = [f"{name}. The attention output first reads the prompt's own topic (top {READ_TOP}) at {read}."]
    for source, report in topics.reports.items():
        lists = report[report["kind"] == "list"]
        won = f"{largest_is_own(lists).mean():.0%} of the lists (chance {1 / len(TOPICS):.1%})"
        parts.append(f"At {topics.dials[source]} own topics gain most for {won}.")
        for step in step_at_reading(name, topics.sweep, topics.read, source, seed)[1:2]:
            parts.append(
                f"Gain by mixing up to the reading block minus after it: {number(step.effect)} nats {interval(step)}."
            )
        if "named" in report:
            noise = report[report["kind"] == "random vector"]
            parts.append(
                f"{lists['named'].mean():.0%} of the sampled continuations there name the topic, at "
                f"{lists['nll'].mean():.2f} nats per token under the plain model (random vectors "
                f"{noise['named'].mean():.0%}, {noise['nll'].mean():.2f} nats)."
            )
    return " ".join(parts)


def _profile(name: str, topics: Topics, seed: int) -> Profile:
    rows: list[dict[str, object]] = []
    gain = topics.sweep.beyond("gain").mean(axis=1)
    for source, dial in topics.dials.items():
        places = [(topics.sweep.dials[row].block, gain[:, row]) for row in topics.sweep.alike(dial)]
        rows += curve(f"{source} × {dial.factor:g}", places, seed)
    where = ", ".join(map(str, sorted(set(topics.read.values())))) or "none"
    return Profile(
        name=f"topics-{name}",
        title=f"Mixing a topic's words into {name}",
        x_label="block of the mixing",
        y_label="gain of the own topic beyond other texts (nats)",
        table=pd.DataFrame(rows).sort_values(["series", "x"], ignore_index=True),
        note=f"n = {len(TOPICS)} lists, {len(topics.sweep.prompts)} prompts, 95 % bootstrap intervals over lists. "
        f"Blocks whose attention output first reads a prompt's topic: {where}.",
        reference={"no effect": 0.0},
    )


def _grid(name: str, reports: Mapping[str, pd.DataFrame]) -> Grid:
    best = max(
        reports, key=lambda source: float(largest_is_own(reports[source][reports[source]["kind"] == "list"]).mean())
    )
    lists = reports[best][reports[best]["kind"] == "list"]
    means = lists.groupby("topic", sort=False)[list(TOPICS)].mean()
    rows = [{"x": target, "y": topic, "value": means.loc[topic, target]} for topic in means.index for target in TOPICS]
    return Grid(
        name=f"topics-grid-{name}",
        title=f"Which topics gain under which lists in {name} ({lists['dial'].iloc[0]})",
        x_label="topic whose words are scored",
        y_label="topic of the list",
        value_label="gain in log-probability (nats)",
        table=pd.DataFrame(rows),
        note=f"Mean over {len(lists)} lists × prompts that did not choose the place.",
        centre=0.0,
    )
