"""Topic prompts of the study: from some articles to find clusters, from others to measure damage."""

import hashlib
from collections.abc import Sequence
from typing import Literal

from rheostat.data.articles import Article, bbc_articles
from rheostat.data.keyword_prompts import KeywordPrompt, keyword_prompts
from rheostat.impairment.fair_chance import LEAST_PROBABILITY, FairPrompts, fair_chance
from rheostat.model import Model
from rheostat.studies.part import step_params
from rheostat.studies.study import Context
from rheostat.tasks.item import Task

Half = Literal["find", "measure"]
HALVES: tuple[Half, ...] = ("find", "measure")
CANDIDATES = 5
"""Prompts that are asked at most for each one that is wanted."""
MEASURED, MEASURED_QUICK = 150, 4
"""Prompts of each topic that are kept for measuring."""


def topic_tasks(context: Context, model: Model, n_per_topic: int, *, part: Half) -> tuple[Task, ...]:
    """Return one task per topic of BBC News, of prompts that the model has a fair chance on.

    Args:
        context: of the study.
        model: asked which prompts are fair; another model has others.
        n_per_topic: prompts of each topic.
        part: `find`, from articles for finding clusters, or `measure`, from the others, for measuring damage.
    """
    found = fair_prompts(context, model, n_per_topic, part=part).tasks
    return tuple(Task(task.name, task.items[:n_per_topic]) for task in found)


def fair_prompts(context: Context, model: Model, n_per_topic: int, *, part: Half) -> FairPrompts:
    """Return the prompts of `topic_tasks` with what was dropped.

    For measuring, a full run always asks for 150 of each topic, so that all parts of the study draw on one choice.
    """
    if part == "measure":
        n_per_topic = max(n_per_topic, MEASURED_QUICK if context.quick else MEASURED)
    prompts = candidates(part, seed=context.seed, most=CANDIDATES * n_per_topic)
    text = "\n".join(f"{one.prompt} {one.keyword}" for one in prompts)
    params = step_params(
        model,
        context,
        prompts=hashlib.sha256(text.encode()).hexdigest(),
        n_per_topic=n_per_topic,
        least_probability=LEAST_PROBABILITY,
    )
    progress = None if context.show_progress else False
    return FairPrompts(
        context.step(
            f"fair-prompts-{part}-{model.name}",
            params,
            lambda: fair_chance(model, prompts, n_per_topic=n_per_topic, progress=progress).table,
        )
    )


def candidates(part: Half, *, seed: int, most: int) -> list[KeywordPrompt]:
    """Return up to `most` prompts of each topic from one half of the articles, the halves drawn within topics."""
    mine = {article.name for article in half_of(bbc_articles(), part)}
    found: dict[str, list[KeywordPrompt]] = {}
    for prompt in keyword_prompts(bbc_articles(), seed=seed):
        if prompt.article in mine:
            found.setdefault(prompt.topic, []).append(prompt)
    return [prompt for own in found.values() for prompt in own[:most]]


def half_of(articles: Sequence[Article], part: Half) -> list[Article]:
    """Return the articles whose name's hash falls into a half."""
    return [one for one in articles if hashlib.sha256(one.name.encode()).digest()[0] % 2 == HALVES.index(part)]
