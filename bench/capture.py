"""Reading every block's output costs next to nothing beside the forward pass itself."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.outcome import Check, Outcome, compare, relative_error
from bench.prompt import prompt_of
from rheostat.engine.module_generate import inputs_of
from rheostat.engine.turns import take_turns
from rheostat.model import Model
from rheostat.models.tokens import Prompt

SITES = "blocks.*.resid_post"
TARGET = 0.95
TOLERANCE = 1e-5
TURNS = {29: 25, 200: 15}


def run(model: Model, *, quick: bool) -> list[Outcome]:
    """Compare at two lengths; `quick` takes fewer turns."""
    return [
        outcome
        for n_tokens, turns in TURNS.items()
        for outcome in _at_length(model, n_tokens, turns=3 if quick else turns)
    ]


def _at_length(model: Model, n_tokens: int, *, turns: int) -> list[Outcome]:
    prompt = prompt_of(model, n_tokens)
    inputs = inputs_of(model, prompt)
    ways = {
        "ours": partial(ours, model, prompt),
        "bare": partial(bare, model, inputs),
        "base": partial(base, model, inputs),
        "hooks": partial(by_hand, model, inputs),
        "again": partial(bare, model, inputs),
    }
    results, times = take_turns(ways, turns=turns, device=model.device)
    found, wanted = results["ours"], results["hooks"]
    error = max(relative_error(found[0], wanted[0]) for found, wanted in zip(found, wanted, strict=True))
    checks = (Check("activations of hooks written by hand, relative to the largest", error, TOLERANCE),)
    case = f"{n_tokens} tokens"
    mine = (f'model.capture(prompt, "{SITES}", positions="all")', times["ours"])

    def against(what: str, plain: str, way: str, target: float | None = None) -> Outcome:
        described = (plain, times[way])
        return compare("capture", f"{case}, {what}", ours=mine, plain=described, checks=checks, target=target)

    control = (f"{BARE}, a second time", times["again"])
    return [
        against("bare forward", BARE, "bare", TARGET),
        against("without unembedding", "module.base_model(**inputs, use_cache=False)", "base"),
        against("hooks by hand", "the same, with one hook per block that clones its output", "hooks"),
        compare("capture", f"{case}, control", ours=(BARE, times["bare"]), plain=control, checks=()),
    ]


BARE = "module(**inputs, use_cache=False, logits_to_keep=1)"


def ours(model: Model, prompt: Prompt) -> list[Tensor]:
    """Capture, from the text on."""
    return list(model.capture(prompt, SITES, positions="all").values())


@torch.no_grad()
def bare(model: Model, inputs: Mapping[str, Tensor]) -> Any:
    """Run the whole model for its last logits."""
    keep = {"logits_to_keep": 1} if "logits_to_keep" in model.parameters_of_forward else {}
    return model.module(**inputs, use_cache=False, **keep)


@torch.no_grad()
def base(model: Model, inputs: Mapping[str, Tensor]) -> Any:
    """Run the blocks and the final norm: like a capture, without the unembedding."""
    return model.module.base_model(**inputs, use_cache=False)  # type: ignore[operator]


def by_hand(model: Model, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Read every block's output with hooks of our own, during `base`."""
    found: list[Tensor] = []

    def keep(_module: object, _args: object, output: Any) -> None:
        found.append((output[0] if isinstance(output, tuple) else output).clone())

    with ExitStack() as stack:
        for block in range(model.n_blocks):
            handle = model.part(f"{model.body.blocks}.{block}").register_forward_hook(keep)
            stack.callback(handle.remove)
        base(model, inputs)
    return found
