"""Concept mixing on topics: do word lists steer what a prompt goes on about, and only up to the block that reads it?

Block, source and factor are chosen with one list per topic on two of the prompts; the other lists, among them the
post's own, are reported on the other prompts.
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
from rheostat.metrics.statistics import Values, bootstrap_mean, paired_difference
from rheostat.model import Model
from rheostat.studies.decoding.cells import Cell, all_cells, capture_cells, lens_ranks, output_log_probabilities
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
from rheostat.studies.decoding.vocabulary import group_tokens, single_token
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

STATEMENTS = {
    "decode-9": (
        "Attention at layer 16 brings in the topic (jobs, for a prompt on the impact of AI), and mixing before "
        "that layer "
        "redirects the completion."
    ),
    "decode-10": (
        "At that layer word lists steer predictably with one factor, .7: bananas to agriculture, circus to "
        "entertainment, "
        "boxing to sports, cooking to food, plain is healthcare (4 of 4)."
    ),
}
FACTORS: Mapping[str, tuple[float, ...]] = {"attn_out": (0.7, 3.0), "resid_mid": (0.3, 0.7)}
FACTORS_QUICK: Mapping[str, tuple[float, ...]] = {"attn_out": (3.0,), "resid_mid": (0.7,)}
TOPICS = tuple(TOPIC_WORDS)
N_UNRELATED = 1
N_CHOOSING = 2
"""Prompts that the place is chosen on; the others are reported on."""
READ_TOP = 20
"""A topic counts as read where one of its words is among this many likeliest tokens."""
NEW_TOKENS = 15
TEMPERATURE = 0.8


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


def measure_sweep(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per mixing text, prompt, dial and topic: the gain in log-probability of its words, in nats.

    Columns: text, topic (the list's; empty for unrelated words), prompt, block, source, factor, target, `gain`,
    `probability` and `plain` (the probability without mixing).
    """
    factors = FACTORS_QUICK if context.quick else FACTORS
    prompts = prompts_of(choosing=True, quick=context.quick)
    texts = [*choosing_lists(), *UNRELATED_LISTS[:N_UNRELATED]]
    vectors = mixing_vectors(model, texts)
    plain = topic_scores(model, prompts, [[] for _ in prompts])
    jobs = [(source, factor) for source in SOURCES for factor in factors[source]]
    tables = []
    for source, factor in context.progress(jobs, f"mixing topics, {model.name}"):
        dials = all_dials(model, source, factor, every=3 if context.quick else 1)

        def compute(dials: Sequence[Dial] = dials) -> pd.DataFrame:
            return pd.concat([_mixed(model, prompts, texts, vectors, dial, plain) for dial in dials])

        params = step_params(model, context, dials=[str(dial) for dial in dials], prompts=prompts, texts=texts)
        tables.append(context.step(f"topics-{model.name}", params, compute))
    return pd.concat(tables, ignore_index=True)


def _mixed(
    model: Model, prompts: Sequence[str], texts: Sequence[str], vectors: Vectors, dial: Dial, plain: Values
) -> pd.DataFrame:
    """Run every text on every prompt at one dial."""
    topic_of = dict(zip(texts, TOPICS, strict=False))
    jobs = [(text, index) for index in range(len(prompts)) for text in texts]
    plans = [mixing(vectors, text, dial) for text, _ in jobs]
    scores = topic_scores(model, [prompts[index] for _, index in jobs], plans)
    tables = [
        pd.DataFrame(
            {
                "text": text,
                "topic": topic_of.get(text, ""),
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
        for (text, index), score in zip(jobs, scores, strict=True)
    ]
    return pd.concat(tables)


def measure_readings(model: Model, context: Context) -> pd.DataFrame:
    """Return, per choosing prompt and block, the best rank of the prompt's own topic words in the attention output."""
    prompts = prompts_of(choosing=True, quick=context.quick)

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

    return context.step(f"topic-readings-{model.name}", step_params(model, context, prompts=prompts), compute)


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

    lists = [text for _, text in reporting_lists()]
    params = step_params(model, context, dial=str(dial), lists=lists, prompts=[*TOPIC_PROMPTS], write=write)
    return context.step(f"topics-report-{dial.source}-{model.name}", params, compute)


def continuations(model: Model, prompts: Sequence[str], plans: Sequence[list[Add]], seed: int) -> list[str]:
    """Return one sampled continuation per row."""
    texts: list[str] = []
    for start in range(0, len(prompts), 48):
        rows = slice(start, start + 48)
        out = model.generate(
            list(prompts[rows]),
            plans=list(plans[rows]),
            max_new_tokens=NEW_TOKENS,
            temperature=TEMPERATURE,
            seed=seed,
            row_ids=list(range(len(prompts)))[rows],
        )
        texts += out.texts
    return texts


def names_topic(text: str, topic: str) -> bool:
    """Tell whether a text holds one of the topic's words."""
    return bool(set(re.findall(r"[a-z]+", text.lower())) & set(TOPIC_WORDS[topic]))


def distinct_words(text: str) -> float:
    """Return the share of different words among the words of a text; 1 for an empty one."""
    words = re.findall(r"\w+", text.lower())
    return len(set(words)) / len(words) if words else 1.0


def surprise(model: Model, prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
    """Return nats per token of each continuation under the plain model; NaN where nothing was written."""
    found = []
    for prompt, text in zip(prompts, texts, strict=True):
        ids, start = model.encode(prompt + text), len(model.encode(prompt))
        if len(ids) <= start:
            found.append(float("nan"))
            continue
        logits = model.run(ids, logits_at=slice(start - 1, len(ids) - 1)).logits[0].float()
        chosen = logits.log_softmax(-1)[torch.arange(len(ids) - start), torch.tensor(ids[start:])]
        found.append(float(-chosen.mean()))
    return found


def measure_planted(model: Model, context: Context) -> pd.DataFrame:
    """Return the gains when a direction that says a topic's words is added in the middle of the network."""
    block = model.n_blocks // 2
    prompt = prompts_of(choosing=False, quick=True)[0]

    def compute() -> pd.DataFrame:
        near = capture_cells(model, [prompt], [Cell(block, "resid_mid")])[0, 0]
        dial = Dial(block, "resid_mid", float(near.norm()))
        plans = [[adding(saying_direction(model, tokens, near), dial)] for tokens in topic_tokens(model)]
        gains = topic_scores(model, [prompt] * len(plans), plans) - topic_scores(model, [prompt], [[]])
        return pd.DataFrame(gains, columns=list(TOPICS)).assign(topic=TOPICS)

    return context.step(f"planted-topics-{model.name}", step_params(model, context, block=block), compute)


# --- analysing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sweep:
    """One model's sweep as arrays."""

    dials: tuple[Dial, ...]
    prompts: tuple[str, ...]
    gain: Values
    """Gain of a list's own topic beyond the same topic's gain under all other texts, (topic, prompt, dial)."""
    largest: Values
    """Whether the own topic has the largest gain of all topics, as 0 and 1, (topic, prompt, dial)."""
    probability: Values
    """As `gain`, for the probability."""

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Sweep":
        """Unfold the long table."""
        texts, prompts = list(table["text"].drop_duplicates()), tuple(table["prompt"].drop_duplicates())
        dials = dials_of(table)
        shape = (len(dials), len(prompts), len(texts), len(TOPICS))

        def unfolded(name: str) -> Values:
            return table[name].to_numpy(dtype=float).reshape(shape).transpose(2, 3, 1, 0)

        own = list(range(len(TOPICS)))
        others = [[row for row in range(len(texts)) if row != index] for index in own]
        gain = unfolded("gain")
        largest = np.stack([gain[index].argmax(axis=0) == index for index in own]).astype(float)
        return cls(dials, prompts, specific(gain, own, others), largest, specific(unfolded("probability"), own, others))

    def best_dial(self, source: str | None = None) -> Dial:
        """Return the dial at which own topics gain most probability beyond other texts'."""
        gain = self.probability.mean(axis=(0, 1))
        allowed = np.array([source in (None, dial.source) for dial in self.dials])
        return self.dials[int(np.where(allowed, gain, -np.inf).argmax())]

    def over_blocks(self, dial: Dial) -> tuple[Values, Values]:
        """Return the blocks tried with the dial's source and factor, and the gain there, (topic, prompt, block)."""
        same = [index for index, one in enumerate(self.dials) if (one.source, one.factor) == (dial.source, dial.factor)]
        return np.array([self.dials[index].block for index in same], dtype=float), self.gain[:, :, same]


def first_read(readings: pd.DataFrame) -> dict[str, int]:
    """Return, per prompt, the first block whose attention output reads the topic; prompts without one are left out."""
    hits = readings[readings["rank"] <= READ_TOP]
    return {str(prompt): int(group["block"].min()) for prompt, group in hits.groupby("prompt")}


def step_at_reading(name: str, sweep: Sweep, readings: pd.DataFrame, source: str, seed: int) -> list[Measurement]:
    """Return how much stronger mixing is up to the reading block than after it; control: a step at any other block."""
    blocks, gain = sweep.over_blocks(sweep.best_dial(source))
    read = first_read(readings)
    steps, anywhere = [], []
    for index, prompt in enumerate(sweep.prompts):
        if prompt not in read or not blocks.min() <= read[prompt] < blocks.max():
            continue
        steps.append(_step(gain[:, index], blocks, read[prompt]))
        anywhere.append(np.mean([_step(gain[:, index], blocks, at) for at in blocks[:-1]], axis=0))
    if not steps:
        return []
    found, control = np.concatenate(steps), np.concatenate(anywhere)
    quantity = f"gain of the own topic by mixing up to the reading block minus after it, {source}"
    return [
        measurement(
            name,
            quantity,
            bootstrap_mean(found, seed=seed),
            control=0.0,
            unit="lists × prompts",
            control_name="no step",
        ),
        measurement(
            name,
            quantity,
            paired_difference(found, control, seed=seed),
            control=float(control.mean()),
            unit="lists × prompts",
            control_name="a step at any block",
        ),
    ]


def _step(gain: Values, blocks: Values, at: float) -> Values:
    return np.asarray(gain[:, blocks <= at].mean(axis=1) - gain[:, blocks > at].mean(axis=1))


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


def run(context: Context) -> Part:
    """Measure all models and judge decode-9 and decode-10."""
    sweeps = {model.name: measure_sweep(model, context) for model in context.models}
    readings = {model.name: measure_readings(model, context) for model in context.models}
    unfolded = {name: Sweep.of(table) for name, table in sweeps.items()}
    reports: dict[str, dict[str, pd.DataFrame]] = {}
    for model in context.models:
        best = unfolded[model.name].best_dial()
        reports[model.name] = {
            source: measure_report(model, context, unfolded[model.name].best_dial(source), write=source == best.source)
            for source in SOURCES
        }
    planted = {model.name: measure_planted(model, context) for model in context.models}
    hits = {name: float(largest_is_own(table).mean()) for name, table in planted.items()}
    steers = {
        name: [one for source in SOURCES for one in steering(name, reports[name][source], source, context.seed)]
        for name in sweeps
    }
    steps = {
        name: [
            one
            for source in SOURCES
            for one in step_at_reading(name, unfolded[name], readings[name], source, context.seed)
        ]
        for name in sweeps
    }
    power = "Directions that say a topic's words, added at the middle block, make it gain most in " + "; ".join(
        f"{share:.0%} ({name})" for name, share in hits.items()
    )
    found = all(share > 0.5 for share in hits.values())
    verdicts = tuple(
        Verdict(
            claim=claim,
            statement=STATEMENTS[claim],
            verdict=judge(deciding, planted_found=found),
            reason=f"{held(deciding)} {power}.",
            measurements=tuple(deciding),
        )
        for claim, deciding in (
            ("decode-9", [one for ms in steps.values() for one in ms]),
            ("decode-10", [one for ms in steers.values() for one in ms]),
        )
    )
    figures: list[Figure] = []
    for name in sweeps:
        figures += [_profile(name, unfolded[name], readings[name], context.seed), _grid(name, reports[name])]
    section = Section(
        heading="Concept mixing on topics",
        text="\n\n".join(
            _describe(name, unfolded[name], readings[name], reports[name], [*steers[name], *steps[name]])
            for name in sweeps
        ),
        figures=tuple(figure.name for figure in figures),
        tables=("topics-report",),
    )
    tables = {
        "topics": joined(sweeps),
        "topic-readings": joined(readings),
        "topics-report": joined({name: pd.concat(reports[name].values()) for name in reports}),
    }
    return Part((section,), tables, tuple(figures), verdicts)


def _describe(
    name: str,
    sweep: Sweep,
    readings: pd.DataFrame,
    reports: Mapping[str, pd.DataFrame],
    every: Sequence[Measurement],
) -> str:
    read = first_read(readings)
    where = ", ".join(f"block {block}" for block in read.values()) or "no block"
    parts = []
    for source, report in reports.items():
        lists = report[report["kind"] == "list"]
        plain = report[report["kind"] == "random vector"]
        dial = sweep.best_dial(source)
        parts.append(
            f"With {dial}, own topics gain most for {largest_is_own(lists).mean():.0%} of the lists (chance "
            f"{1 / len(TOPICS):.1%})."
        )
        if "named" in report:
            parts.append(
                f"{lists['named'].mean():.0%} of the sampled continuations there name the topic. Their surprise "
                f"under the "
                f"plain model is {lists['nll'].mean():.2f} nats per token (random vectors {plain['nll'].mean():.2f}), "
                f"{lists['distinct'].mean():.0%} of their words are different."
            )
    said = " ".join(
        f"{one.quantity}: {number(one.effect)}, {one.control_name} {number(one.control)} (difference "
        f"[{number(one.low)}, {number(one.high)}])."
        for one in every
    )
    return (
        f"{name}. The attention output first reads the prompt's own topic (top {READ_TOP})"
        f" at {where}. {' '.join(parts)} "
        f"{said}"
    )


def _profile(name: str, sweep: Sweep, readings: pd.DataFrame, seed: int) -> Profile:
    rows = []
    for source in SOURCES:
        dial = sweep.best_dial(source)
        blocks, gain = sweep.over_blocks(dial)
        for index, block in enumerate(blocks):
            mean = bootstrap_mean(gain[:, :, index].mean(axis=1), seed=seed)
            series = f"{source} × {dial.factor:g}"
            rows.append({"x": block, "value": mean.value, "low": mean.low, "high": mean.high, "series": series})
    read = sorted(set(first_read(readings).values()))
    where = ", ".join(map(str, read)) or "none"
    return Profile(
        name=f"topics-{name}",
        title=f"Mixing a topic's words into {name}",
        x_label="block of the mixing",
        y_label="gain of the own topic beyond other texts (nats)",
        table=pd.DataFrame(rows).sort_values(["series", "x"], ignore_index=True),
        note=f"n = {len(TOPICS)} lists, {len(sweep.prompts)} prompts, 95 % bootstrap intervals. Blocks whose "
        f"attention output "
        f"first reads a prompt's topic: {where}.",
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
