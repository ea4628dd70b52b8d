"""One `Add` at every token of a generation costs a few microseconds per token."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.outcome import Check, Outcome, compare
from bench.prompt import prompt_of
from rheostat.edit.arithmetic import Add
from rheostat.engine.module_generate import inputs_of, module_generate
from rheostat.engine.turns import take_turns
from rheostat.model import Model
from rheostat.models.tokens import Prompt

TARGET = 1 / 1.03
"""At most 3 % more time than without the edit."""
N_NEW = 64
N_PROMPT = 20
TURNS = 9
RELATIVE_SIZE = 0.3
"""Length of the added vector, in lengths of the activation that it is added to."""


def run(model: Model, *, quick: bool) -> list[Outcome]:
    """Compare generation under an edit with the plain one; `quick` writes fewer tokens and takes fewer turns."""
    n_new, turns = (8, 2) if quick else (N_NEW, TURNS)
    prompt = prompt_of(model, N_PROMPT)
    inputs = inputs_of(model, prompt)
    edit = steering(model, prompt)
    ways = {
        "ours": partial(ours, model, prompt, edit, n_new),
        "plain": partial(module_generate, model, inputs, n_new),
        "hook": partial(by_hand, model, inputs, edit, n_new),
        "again": partial(module_generate, model, inputs, n_new),
    }
    results, times = take_turns(ways, turns=turns, device=model.device)
    silent = ours(model, prompt, Add(edit.site, edit.vector, strength=0.0), n_new)
    checks = (
        Check("tokens unlike plain generation's, at strength 0", _differing(silent, results["plain"]), 0),
        Check("tokens unlike those of a hook written by hand", _differing(results["ours"], results["hook"]), 0),
        Check(f"tokens missing of {n_new}", max(n_new - len(ids) for ids in results.values()), 0),
        Check("edits that changed no token", float(results["ours"] == results["plain"]), 0),
    )
    case, mine = f"{n_new} tokens", ("model.generate(prompt, Add(site, vector), max_new_tokens=n)", times["ours"])
    described = {way: (what, times[way]) for way, what in DESCRIPTIONS.items()}
    return [
        compare("generate", f"{case}, no edit", ours=mine, plain=described["plain"], checks=checks, target=TARGET),
        compare("generate", f"{case}, hook by hand", ours=mine, plain=described["hook"], checks=checks),
        compare("generate", f"{case}, control", ours=described["plain"], plain=described["again"], checks=()),
    ]


DESCRIPTIONS = {
    "plain": "module.generate(**inputs, generation_config=the same)",
    "hook": "the same, with a hook that adds the vector to the block's output",
    "again": "module.generate(**inputs, generation_config=the same), a second time",
}


def steering(model: Model, prompt: Prompt) -> Add:
    """Return an edit of the residual stream in the middle of the model, large enough to change what is written."""
    site = f"blocks.{model.n_blocks // 2}.resid_post"
    size = model.capture(prompt, site, positions="last")[site].norm() * RELATIVE_SIZE
    direction = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
    return Add(site, direction / direction.norm() * float(size))


def ours(model: Model, prompt: Prompt, edit: Add, n_new: int) -> list[int]:
    """Generate under the edit, from the text on."""
    return list(model.generate(prompt, edit, max_new_tokens=n_new).ids[0])


def by_hand(model: Model, inputs: Mapping[str, Tensor], edit: Add, n_new: int) -> list[int]:
    """Generate while a hook of our own adds the vector to the output of the middle block."""
    assert isinstance(edit.vector, Tensor)
    vector = edit.vector.to(model.device, model.dtype)

    def add(_module: object, _args: object, output: Any) -> Any:
        return (output[0] + vector, *output[1:]) if isinstance(output, tuple) else output + vector

    handle = model.part(f"{model.body.blocks}.{model.n_blocks // 2}").register_forward_hook(add)
    try:
        return module_generate(model, inputs, n_new)
    finally:
        handle.remove()


def _differing(found: list[int], wanted: list[int]) -> float:
    return sum(a != b for a, b in zip(found, wanted, strict=False)) + abs(len(found) - len(wanted))
