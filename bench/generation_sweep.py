"""Texts under many plans: rows of shared batches, against one generation per plan and prompt."""

from collections.abc import Sequence
from functools import partial

from bench.generate import steering
from bench.outcome import Check, Outcome, compare
from bench.prompt import prompt_of
from rheostat.edit.arithmetic import Add
from rheostat.engine.turns import take_turns
from rheostat.model import Model
from rheostat.models.tokens import Prompt

N_PROMPTS = (8, 14, 20)
"""Tokens of the prompts."""
STRENGTHS = (0.0, 1.0, 2.0, 3.0)
N_NEW = 16
TURNS = 3


def run(model: Model, *, quick: bool) -> list[Outcome]:
    """Compare 3 prompts × 4 strengths, greedy; `quick` takes two of each, and fewer tokens, once."""
    sizes, strengths, n_new, turns = (
        (N_PROMPTS[:2], STRENGTHS[:3:2], 6, 1) if quick else (N_PROMPTS, STRENGTHS, N_NEW, TURNS)
    )
    prompts = [prompt_of(model, size) for size in sizes]
    edit = steering(model, prompts[0])
    edits = [Add(edit.site, edit.vector, strength=strength) for strength in strengths]
    ways = {
        "ours": partial(ours, model, prompts, edits, n_new),
        "plain": partial(plain, model, prompts, edits, n_new),
    }
    results, times = take_turns(ways, turns=turns, device=model.device)
    found, wanted = results["ours"], results["plain"]
    unedited = wanted[:: len(edits)]
    moved = sum(ids != unedited[number // len(edits)] for number, ids in enumerate(wanted))
    checks = (
        Check("texts unlike those of single generations", sum(a != b for a, b in zip(found, wanted, strict=True)), 0),
        Check("no edit changed a text", float(moved == 0), 0),
    )
    return [
        compare(
            "generation_sweep",
            f"{len(prompts)} prompts × {len(edits)} plans, {n_new} tokens",
            ours=("model.sweep_generations(prompts, plans, max_new_tokens=n)", times["ours"]),
            plain=("model.generate(prompt, plan, max_new_tokens=n), one by one", times["plain"]),
            checks=checks,
        )
    ]


def ours(model: Model, prompts: Sequence[Prompt], edits: Sequence[Add], n_new: int) -> list[tuple[int, ...]]:
    """Write all texts in shared batches; return their tokens, prompt by prompt."""
    return list(model.sweep_generations(prompts, edits, max_new_tokens=n_new)["ids"])


def plain(model: Model, prompts: Sequence[Prompt], edits: Sequence[Add], n_new: int) -> list[tuple[int, ...]]:
    """Write text by text."""
    return [model.generate(prompt, edit, max_new_tokens=n_new).ids[0] for prompt in prompts for edit in edits]
