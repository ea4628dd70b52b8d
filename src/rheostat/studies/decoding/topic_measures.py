"""What is measured of concept mixing on topics: every dial, what blocks read, and the report on held-out lists."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from rheostat.data.word_lists import TOPIC_LISTS, TOPIC_PROMPTS, TOPIC_WORDS, UNRELATED_LISTS
from rheostat.edit.arithmetic import Add
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.decoding.cells import all_cells, capture_cells, lens_ranks, output_log_probabilities
from rheostat.studies.decoding.continuations import (
    NEW_TOKENS,
    TEMPERATURE,
    continuations,
    distinct_words,
    surprise,
)
from rheostat.studies.decoding.mixing import Dial, adding, mixing, mixing_vectors
from rheostat.studies.decoding.planted import saying_edits
from rheostat.studies.decoding.sweep import measure_dials
from rheostat.studies.part import step_params
from rheostat.studies.study import Context
from rheostat.studies.vocabulary import group_tokens, single_token

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
