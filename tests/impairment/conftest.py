"""Tables as `impairment_curves` makes them, with planted answers, and a small model with tasks of its words."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from rheostat.tasks.item import Item, Task

Right = Callable[[int, int, float], float]
"""(item, draw, intensity) → whether the answer is right."""


def planted(
    right: Right,
    *,
    n_items: int = 40,
    levels: Sequence[float] = (0.1, 0.2, 0.4, 0.8),
    draws: int = 1,
    per_group: int = 1,
    own_draws: bool = False,
    task: str = "task",
    dial: str = "dial",
) -> pd.DataFrame:
    """Return a table; the loss is 1 + 10 × intensity."""
    rows = []
    for item in range(n_items):
        shared = {"task": task, "item": item, "group": f"{task} {item // per_group}", "answer_tokens": 1}
        own = [item // per_group] if own_draws else range(draws)
        rows.append({"dial": "", "intensity": 0.0, "draw": own[0], **shared, "loss": 1.0, "right": right(item, 0, 0.0)})
        for level in levels:
            for draw in own:
                damaged = {"loss": 1 + 10 * level, "right": right(item, draw, level)}
                rows.append({"dial": dial, "intensity": level, "draw": draw, **shared, **damaged})
    return pd.DataFrame(rows)


def thresholds(n: int, seed: int, *, mean: float = 0.4, spread: float = 0.1) -> np.ndarray:
    """Return the intensity at which each item breaks."""
    return np.random.default_rng(seed).normal(mean, spread, size=n)


def word_task(name: str = "words", n: int = 5) -> Task:
    """Items of different lengths in the words of the toys; some answers hold two tokens, and items 0 and 1 a group."""
    items = []
    for number in range(n):
        prompt = " ".join(f"w{5 + (7 * number + 3 * place) % 50}" for place in range(3 + number % 3))
        answer = " w9" if number % 2 else " w9 w11"
        items.append(Item(prompt, answer, group="first" if number < 2 else ""))
    return Task(name, tuple(items))
