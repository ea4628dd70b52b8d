"""`fair_chance`: the keyword prompts that a network has a fair chance on, as tasks.

A prompt is kept if the intact network gives the keyword's first token at least a probability of 1 %. Chosen by the
network itself, the prompts make its baseline look better than it is on all of them; both are in the table.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from rheostat.data.inflections import giveaways
from rheostat.data.keyword_prompts import KeywordPrompt
from rheostat.engine.cells import Cell
from rheostat.metrics.loss import Loss, PerPrompt
from rheostat.models.network import Network
from rheostat.sweeps.sweep import sweep
from rheostat.tasks.item import Item, Task, ask

LEAST_PROBABILITY = 0.01
"""Of the keyword's first token, by the intact network."""
ASKED_FOR_ONE = 2
"""Prompts that are asked at a time for each one that is still wanted."""

COLUMNS = (
    "topic", "prompt", "keyword", "article", "passage", "answer_tokens", "first_loss", "loss", "right", "fair",
    "giveaways",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class FairPrompts:
    """The prompts that were asked, and those that are kept."""

    table: pd.DataFrame
    """A row per prompt that was asked, those that were dropped too: topic, prompt, keyword, article, passage,
    answer_tokens, first_loss (of the keyword's first token, nats), loss (mean over its tokens), right, fair (kept), and
    giveaways, how many words of the prompt give the keyword away (0)."""

    @property
    def prompts(self) -> tuple[KeywordPrompt, ...]:
        """Those that are kept, for asking another network about them."""
        kept = self.table[self.table["fair"].astype(bool)]
        texts = [map(str, kept[name]) for name in ("topic", "prompt", "keyword", "article")]
        passages = map(int, kept["passage"])
        return tuple(KeywordPrompt(*own) for own in zip(*texts, passages, strict=True))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """One per topic, of the prompts that are kept; an item's group is its article."""
        kept = self.table[self.table["fair"].astype(bool)]
        return tuple(
            Task(
                str(topic),
                tuple(Item(str(row.prompt), f" {row.keyword}", str(row.article)) for row in own.itertuples()),
            )
            for topic, own in kept.groupby("topic", sort=True)
        )


def fair_chance(
    network: Network,
    prompts: Sequence[KeywordPrompt],
    *,
    n_per_topic: int | None = None,
    least_probability: float = LEAST_PROBABILITY,
    progress: bool | None = None,
) -> FairPrompts:
    """Ask the intact network, and keep the prompts on which it has a fair chance.

    Args:
        network: a language model.
        prompts: of any topics; each topic's are asked in their order.
        n_per_topic: stop asking a topic once so many are kept; None: ask all.
        least_probability: that the intact network gives to the keyword's first token, 0 to 1.
        progress: show a bar on stderr; None: only where stderr is a terminal.
    """
    waiting: dict[str, list[KeywordPrompt]] = {}
    for prompt in prompts:
        waiting.setdefault(prompt.topic, []).append(prompt)
    kept = dict.fromkeys(waiting, 0)
    tables = []
    while waiting:
        n_wanted = {
            topic: len(own) if n_per_topic is None else n_per_topic - kept[topic] for topic, own in waiting.items()
        }
        chunk = {topic: own[: ASKED_FOR_ONE * n_wanted[topic]] for topic, own in waiting.items()}
        table = _asked(network, [prompt for own in chunk.values() for prompt in own], least_probability, progress)
        table = _up_to(table, n_wanted)
        tables.append(table)
        for topic, own in list(waiting.items()):
            kept[topic] += int(table["fair"][table["topic"] == topic].sum())
            waiting[topic] = own[len(chunk[topic]) :]
            if not waiting[topic] or kept[topic] == n_per_topic:
                del waiting[topic]
    return FairPrompts(pd.concat(tables, ignore_index=True))


def _asked(
    network: Network, prompts: Sequence[KeywordPrompt], least_probability: float, progress: bool | None
) -> pd.DataFrame:
    """Return a row per prompt."""
    asked = ask(network, [Item(one.prompt, f" {one.keyword}") for one in prompts])
    intact = [Cell((), {})]
    found = sweep(network, asked.rows, intact, [asked.loss, asked.right], name="fair chance", progress=progress)
    table = pd.DataFrame([vars(one) for one in prompts])
    table["answer_tokens"] = asked.n_answer_tokens
    measured = found.sort_values("prompt")
    table["loss"], table["right"] = measured["loss"].to_numpy(), measured["greedy_match"].to_numpy()
    table["first_loss"] = table["loss"]
    several = [place for place, n in enumerate(asked.n_answer_tokens) if n > 1]
    if several:
        first = Loss(PerPrompt([-asked.n_answer_tokens[place] for place in several]))
        rows = [asked.rows[place] for place in several]
        started = sweep(network, rows, intact, first, name="fair chance", progress=progress)
        table.loc[several, "first_loss"] = started.sort_values("prompt")["loss"].to_numpy()
    table["fair"] = table["first_loss"] <= -math.log(least_probability)
    table["giveaways"] = [len(giveaways(one.prompt, one.keyword)) for one in prompts]
    return table[list(COLUMNS)]


def _up_to(table: pd.DataFrame, wanted: dict[str, int]) -> pd.DataFrame:
    """Return the rows up to the last one that each topic wants."""
    n_before = table.groupby("topic")["fair"].cumsum() - table["fair"]
    return table[n_before < table["topic"].map(wanted)]
