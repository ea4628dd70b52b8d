"""Tasks, questions and vectors of the study: what is shown, what blocks are chosen on, and what is reported."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.directions.task_vector import N_DUMMIES, Demonstrations, K, draw_demonstrations, task_states
from rheostat.model import Model
from rheostat.studies.part import step_params
from rheostat.studies.study import Context
from rheostat.tasks.format import ARROW, PromptFormat
from rheostat.tasks.library import PAIR_TASKS, pair_task
from rheostat.tasks.pairs import Pair, PairTask, Split

STYLE = ARROW
"""Unless another form is chosen on dev questions."""
QUICK_TASKS = (
    "country-capital", "country-language", "antonyms", "past-tense", "plural", "singular", "upper-case", "capitalise",
)  # fmt: skip
N_DEV, N_DEV_QUICK = 12, 6
N_TEST, N_TEST_QUICK = 20, 8
N_SETS, N_SETS_QUICK = 2, 1
"""Sets of demonstrations whose vectors are put into other prompts; the same sets are shown for the regular accuracy."""
N_VECTORS, N_VECTORS_QUICK = 12, 6
"""Vectors per task of the pairs that are shown, and as many of the others: for clusters and decoding."""
SHOWN, OTHERS = "shown", "others"
"""Which pairs the demonstrations of a vector were drawn from: those to show, or those of dev and test."""
EMBEDDED = -1
"""In the place of a block: the mean embedding of a prompt's tokens, its surface."""


@dataclass(frozen=True)
class Asked:
    """One task with its questions and its sets of demonstrations, none of which holds a question."""

    task: PairTask
    dev: tuple[Pair, ...]
    test: tuple[Pair, ...]
    sets: tuple[Demonstrations, ...]
    """Of the pairs to show; the first `n_sets` are tested."""
    others: tuple[Demonstrations, ...]
    """Of the pairs of dev and test."""
    style: PromptFormat = STYLE

    @property
    def name(self) -> str:
        """Of the task."""
        return self.task.name


def n_sets(context: Context) -> int:
    """Return how many sets of demonstrations are tested."""
    return N_SETS_QUICK if context.quick else N_SETS


def asked_tasks(context: Context, style: PromptFormat) -> tuple[Asked, ...]:
    """Return every task with its questions; a quick run asks a few tasks."""
    return tuple(_asked(pair_task(name), context, style) for name in (QUICK_TASKS if context.quick else PAIR_TASKS))


def dev_tasks(context: Context, style: PromptFormat) -> tuple[Asked, ...]:
    """Return a few tasks with their dev questions and one set of demonstrations."""
    whole = (_asked(pair_task(name), context, style) for name in QUICK_TASKS)
    return tuple(replace(one, test=(), sets=one.sets[:1], others=()) for one in whole)


def _asked(task: PairTask, context: Context, style: PromptFormat) -> Asked:
    split, seed, quick = task.split(seed=context.seed), context.seed, context.quick
    n = N_VECTORS_QUICK if quick else N_VECTORS
    shown, others = pools(split)
    return Asked(
        task,
        split.dev[: N_DEV_QUICK if quick else N_DEV],
        split.test[: N_TEST_QUICK if quick else N_TEST],
        draw_demonstrations(shown, n, seed=seed),
        draw_demonstrations(others, n, seed=seed + 1),
        style,
    )


def pools(split: Split) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """Return the pairs that vectors are read from: those to show, and all others."""
    return split.shown, (*split.dev, *split.test)


def task_params(asked: Sequence[Asked]) -> dict[str, object]:
    """Return what a step on tasks depends on."""
    return {
        "style": asked[0].style.name,
        "k": K,
        "dummies": N_DUMMIES,
        "tasks": {
            one.name: [
                [f"{pair.question}={pair.answer}" for pair in (*one.dev, *one.test)],
                [prompt for demo in (*one.sets, *one.others) for prompt in demo.prompts(one.style)],
            ]
            for one in asked
        },
    }


@dataclass(frozen=True)
class Vectors:
    """Task vectors of one model: by task, the source of their demonstrations, set and block."""

    names: tuple[str, ...]
    values: Float[Tensor, "task source set block d_model"]
    """Sources: shown, others. The last block is no block but the mean embedding of the prompts' tokens."""

    @property
    def n_blocks(self) -> int:
        """Blocks of the model."""
        return self.values.shape[3] - 1

    def of(self, task: str, number: int, block: int, source: str = SHOWN) -> Tensor:
        """Return one set's vector at a block, (d_model,)."""
        found: Tensor = self.values[self.names.index(task), (SHOWN, OTHERS).index(source), number, block]
        return found

    def mean(self, task: str, block: int) -> Tensor:
        """Return the mean vector of the sets to show, (d_model,)."""
        found: Tensor = self.values[self.names.index(task), 0, :, block].mean(0)
        return found


def vectors_of(model: Model, context: Context, asked: Sequence[Asked]) -> Vectors:
    """Return all vectors of a model."""

    def compute() -> pd.DataFrame:
        rows = []
        for one in context.progress(asked, f"reading task vectors, {model.name}"):
            states = read_sets(model, [*one.sets, *one.others], one.style)
            rows += [
                {"task": one.name, "set": number, "vectors": state.flatten().numpy()}
                for number, state in enumerate(states)
            ]
        return pd.DataFrame(rows)

    table = context.step(f"vectors-{model.name}", step_params(model, context, **task_params(asked)), compute)
    values = torch.tensor(np.stack(list(table["vectors"])), dtype=torch.float32)
    shape = (len(asked), 2, len(asked[0].sets), model.n_blocks + 1, model.d_model)
    return Vectors(tuple(one.name for one in asked), values.reshape(shape))


def read_sets(model: Model, sets: Sequence[Demonstrations], style: PromptFormat) -> Float[Tensor, "set block d_model"]:
    """Return each set's state after every block, and last the mean embedding of its prompts' tokens."""
    states = task_states(model, sets, style=style)
    blocks = torch.stack([states[f"blocks.{block}.resid_post"] for block in range(model.n_blocks)], dim=1)
    surface = torch.stack([_surface(model, one, style) for one in sets])
    return torch.cat([blocks.float(), surface[:, None].float()], dim=1)


def _surface(model: Model, one: Demonstrations, style: PromptFormat) -> Tensor:
    """Return the mean embedding of all tokens of a set's prompts, (d_model,)."""
    acts = model.capture(one.prompts(style), "blocks.0.resid_pre")["blocks.0.resid_pre"]
    return acts.flatten(0, 1).nanmean(0)
