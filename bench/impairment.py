"""Curves of damage at every block: a sweep, against one pass per cell and prompt through hooks written by hand."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bench.outcome import Check, Outcome, compare
from bench.timing import scaled
from rheostat.data.articles import bbc_articles
from rheostat.data.keyword_prompts import keyword_prompts
from rheostat.edit.noise import keyed_noise
from rheostat.engine.cells import Cell
from rheostat.engine.explain import explain_sweep
from rheostat.engine.turns import take_turns
from rheostat.impairment.dial import Dial
from rheostat.model import Model
from rheostat.sweeps.sweep import sweep
from rheostat.tasks.item import Item, Questions, ask

KIND = "mlp_out"
MODES = ("gaussian", "negative", "magnitude")
INTENSITIES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8)
N_PER_TOPIC, N_QUICK = 100, 6
"""Prompts of each of five topics."""
N_SINGLE, N_SINGLE_QUICK = 12, 3
"""The plain ways run so many prompts of each cell."""
TARGET = 3.0
TOLERANCE = 1e-5
"""Of the range of the logits."""


@dataclass(frozen=True)
class Part:
    """Cells of one intensity on all prompts, some of which the plain ways run."""

    asked: Questions
    cells: tuple[Cell, ...]
    chosen: tuple[int, ...]
    """Numbers of the prompts that the plain ways run."""


def run(model: Model, *, quick: bool) -> list[Outcome]:
    """Compare intensity by intensity; `quick` takes few prompts and two intensities."""
    asked = ask(model, items(N_QUICK if quick else N_PER_TOPIC))
    levels = INTENSITIES[:2] if quick else INTENSITIES
    n_single = min(N_SINGLE_QUICK if quick else N_SINGLE, len(asked.rows))
    parts = [Part(asked, cells(level), evenly(asked, n_single, turn)) for turn, level in enumerate(levels)]
    noise = tables(model, max(map(len, asked.rows)))
    found: dict[str, list[Tensor]] = {"ours": [], "all": [], "asked": []}
    ways = {
        "ours": in_parts(lambda part: ours(model, part), parts, found["ours"]),
        "all": in_parts(partial(plain, model, noise, unembed_all=True), parts, found["all"]),
        "asked": in_parts(partial(plain, model, noise, unembed_all=False), parts, found["asked"]),
    }
    _, times = take_turns(ways, turns=len(parts), device=model.device)
    checks = _checks(model, parts, found)
    n_cells, n_prompts = len(levels) * len(MODES), len(asked.rows)
    case = f"{len(levels)} intensities × {len(MODES)} modes × {n_prompts} prompts"
    mine = ("sweep(prompts, cells, [loss, right]), one intensity a turn", scaled(times["ours"], 1, len(levels)))
    n_run = len(MODES) * n_single

    def by(way: str, what: str, target: float | None) -> Outcome:
        described = f"{what}; {len(levels) * n_run} of {n_cells * n_prompts} run, evenly over lengths"
        theirs = (described, scaled(times[way], n_run, n_cells * n_prompts))
        return compare(
            "impairment", f"{case}: {what}", ours=mine, plain=theirs, checks=checks, target=target, figures=figures
        )

    figures = _figures(model, asked)
    return [
        by("all", "module(input_ids), hooks at every block", TARGET),
        by("asked", "the same, unembedding only what is asked", None),
    ]


def items(n_per_topic: int) -> list[Item]:
    """Return prompts that lead up to the keywords of a topic."""
    prompts = keyword_prompts(bbc_articles(), n_per_topic=n_per_topic)
    return [Item(one.prompt, f" {one.keyword}", one.article) for one in prompts]


def cells(level: float) -> tuple[Cell, ...]:
    """Return one cell per mode."""
    return tuple(Cell(Dial(mode, KIND).plan(level), {"mode": mode, "intensity": level}) for mode in MODES)


def evenly(asked: Questions, n: int, turn: int) -> tuple[int, ...]:
    """Return `n` prompts of evenly spread lengths, others at each turn."""
    ordered = sorted(range(len(asked.rows)), key=lambda one: len(asked.rows[one]))
    step = len(ordered) / n
    return tuple(ordered[int((place + (turn * 0.382) % 1) * step)] for place in range(n))


def in_parts(way: Callable[[Part], Tensor], parts: Sequence[Part], found: list[Tensor]) -> Callable[[], Tensor]:
    """Return what computes a part at each call; the first, a warm-up, is the first part with fewer prompts."""
    first = parts[0]
    few = Questions(first.asked.rows[:4], first.asked.n_answer_tokens[:4])

    def go() -> Iterator[Tensor]:
        yield way(Part(few, first.cells, (0, 1)))
        for part in parts:
            found.append(way(part))
            yield found[-1]

    return go().__next__


def ours(model: Model, part: Part) -> Tensor:
    """Return the loss (cell, prompt) of every prompt."""
    asked = part.asked
    table = sweep(model, asked.rows, part.cells, [asked.loss, asked.right], progress=False)
    return torch.tensor(table["loss"].to_numpy()).view(len(asked.rows), len(part.cells)).T


def plain(model: Model, noise: Sequence[Tensor], part: Part, *, unembed_all: bool) -> Tensor:
    """Return the loss (cell, prompt) of the chosen prompts, one pass each."""
    module: Any = model.module
    losses = []
    for cell in part.cells:
        with ExitStack() as stack, torch.no_grad():
            for block in range(model.n_blocks):
                hook = partial(damage, str(cell.labels["mode"]), float(str(cell.labels["intensity"])), noise[block])
                stack.callback(model.part(model.anatomy.tap(KIND, block).module).register_forward_hook(hook).remove)
            for prompt in part.chosen:
                row, n = part.asked.rows[prompt], part.asked.n_answer_tokens[prompt]
                ids = torch.tensor([row], device=model.device)
                kept = {} if unembed_all else {"logits_to_keep": n + 1}
                logits = module(input_ids=ids, use_cache=False, **kept).logits[0, -n - 1 : -1]
                right = bool((logits.argmax(-1) == ids[0, -n:]).all())
                losses.append((float(cross_entropy(logits, ids[0, -n:])), right))
    return torch.tensor([loss for loss, _ in losses], dtype=torch.float64).view(len(part.cells), len(part.chosen))


def damage(mode: str, amount: float, noise: Tensor, _module: object, _args: object, output: Tensor) -> Tensor:
    """Damage what a sublayer adds, (1, pos, d_model)."""
    if mode == "magnitude":
        return output * (1 - amount)
    drawn = noise[: output.shape[1]]
    if mode == "negative":
        drawn = drawn - drawn.amax(-1, keepdim=True)
    return output + amount * drawn


def tables(model: Model, n_tokens: int) -> list[Tensor]:
    """Return the noise (pos, d_model) of every block, drawn before anything is timed."""
    sites = [f"blocks.{block}.{KIND}" for block in range(model.n_blocks)]
    drawn = [keyed_noise(site, range(n_tokens), model.d_model, seed=0, draw=0) for site in sites]
    return [one.to(model.device, model.dtype) for one in drawn]


def _checks(model: Model, parts: Sequence[Part], found: dict[str, list[Tensor]]) -> tuple[Check, ...]:
    logits = model.run(list(parts[0].asked.rows[0])).logits
    size = float(logits.max() - logits.min())
    some = [mine[:, list(part.chosen)] for part, mine in zip(parts, found["ours"], strict=True)]
    errors = {
        way: max(float((a - b).abs().max()) for a, b in zip(some, found[way], strict=True)) for way in ("all", "asked")
    }
    spread = torch.cat(found["ours"]).std(0)
    return (
        Check("loss, relative to the range of the logits", errors["all"] / size, TOLERANCE),
        Check("the same, unembedding only what is asked", errors["asked"] / size, TOLERANCE),
        Check("prompts whose loss no cell moved", float((spread < 100 * TOLERANCE).sum()), 0),
    )


def _figures(model: Model, asked: Questions) -> dict[str, float]:
    """Return how much is computed, under one intensity."""
    level = list(cells(INTENSITIES[0]))
    cost = explain_sweep(model, [list(row) for row in asked.rows], level, logits_at="last")
    n_tokens = sum(map(len, asked.rows))
    return {
        "tokens of a prompt, mean": n_tokens / len(asked.rows),
        "block-token-rows over those of one pass per cell": cost.block_token_rows / cost.plain_block_token_rows,
    }
