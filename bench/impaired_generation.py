"""Noise at every block of every written token, against the same edit at intensity 0 and against plain generation."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from torch import Tensor

from bench.impairment import KIND, MODES, damage, tables
from bench.outcome import Check, Outcome, compare
from bench.prompt import prompt_of
from rheostat.edit.plan import Plan
from rheostat.engine.module_generate import inputs_of, module_generate
from rheostat.engine.turns import take_turns
from rheostat.impairment.dial import Dial
from rheostat.model import Model
from rheostat.models.tokens import Prompt

TARGET = 1 / 1.03
"""At most 3 % more time than plain generation."""
INTENSITY = 0.3
N_NEW, N_PROMPT, TURNS = 64, 20, 7
N_ROWS = 8


def run(model: Model, *, quick: bool) -> list[Outcome]:
    """Compare mode by mode, and a batch whose rows are impaired differently; `quick` writes fewer tokens."""
    n_new, turns = (8, 1) if quick else (N_NEW, TURNS)
    prompt = prompt_of(model, N_PROMPT)
    inputs = inputs_of(model, prompt)
    plans = {mode: Dial(mode, KIND).plan(INTENSITY) for mode in MODES}
    mixed = [plans[MODES[row % len(MODES)]] if row else Plan() for row in range(N_ROWS)]
    several = inputs_of(model, prompt, n_rows=N_ROWS)
    noise = tables(model, N_PROMPT + n_new)
    ways = {
        **{mode: partial(ours, model, [prompt], [plan], n_new) for mode, plan in plans.items()},
        "zero": partial(ours, model, [prompt], [Dial(MODES[0], KIND).plan(0.0)], n_new),
        "plain": partial(module_generate, model, inputs, n_new),
        "again": partial(module_generate, model, inputs, n_new),
        "mixed": partial(ours, model, [prompt] * N_ROWS, mixed, n_new),
        "batch": partial(module_generate, model, several, n_new),
    }
    results, times = take_turns(ways, turns=turns, device=model.device)
    checks = (
        *(
            Check(f"tokens unlike a hook's, {mode}", by_hand(model, inputs, mode, noise, results[mode]), 0)
            for mode in MODES
        ),
        Check("tokens unlike plain generation's, at intensity 0", unlike(results["zero"], results["plain"]), 0),
        Check("modes that changed no token", float(sum(results[mode] == results["plain"] for mode in MODES)), 0),
    )
    case = f"{n_new} tokens"
    calls = {
        "zero": "the same edit at intensity 0",
        "plain": "module.generate(**inputs, generation_config=the same)",
        "batch": f"module.generate of {N_ROWS} rows",
    }

    def against(mode: str, way: str, target: float | None = None) -> Outcome:
        mine = (f"model.generate under {mode} noise or shrinking at every block", times[mode])
        return compare(
            "impaired_generation", f"{case}, {mode} against {way}", ours=mine, plain=(calls[way], times[way]),
            checks=checks, target=target,
        )  # fmt: skip

    return [
        *(against(mode, "plain", TARGET) for mode in MODES),
        against(MODES[0], "zero"),
        against("zero", "plain"),
        against("mixed", "batch"),
        compare(
            "impaired_generation", f"{case}, control", ours=(calls["plain"], times["plain"]),
            plain=(calls["plain"], times["again"]), checks=(),
        ),
    ]  # fmt: skip


def ours(model: Model, prompts: Sequence[Prompt], plans: Sequence[Plan], n_new: int) -> list[int]:
    """Generate under one plan per row; return the first row's tokens."""
    return list(model.generate(prompts, plans=plans, max_new_tokens=n_new).ids[0])


def by_hand(
    model: Model, inputs: Mapping[str, Tensor], mode: str, noise: Sequence[Tensor], found: Sequence[int]
) -> float:
    """Return how many tokens differ from those of a generation with hooks that count the tokens themselves."""

    def hook(drawn: Tensor, seen: list[int], _module: object, _args: object, output: Any) -> Tensor:
        start, n = sum(seen), output.shape[1]
        seen.append(n)
        return damage(mode, INTENSITY, drawn[start : start + n], _module, _args, output)

    with ExitStack() as stack:
        for block, drawn in enumerate(noise):
            part = model.part(model.anatomy.tap(KIND, block).module)
            stack.callback(part.register_forward_hook(partial(hook, drawn, [])).remove)
        return unlike(found, module_generate(model, inputs, len(found)))


def unlike(found: Sequence[int], wanted: Sequence[int]) -> float:
    """Return how many tokens differ or are missing."""
    return sum(a != b for a, b in zip(found, wanted, strict=False)) + abs(len(found) - len(wanted))
