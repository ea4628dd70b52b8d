"""Rows of one batch, each with a plan of its own, against as many single runs."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from bench.outcome import Check, Outcome, compare
from bench.prompt import prompt_of
from rheostat.edit.patching import Replace
from rheostat.engine.turns import take_turns
from rheostat.model import Model
from rheostat.models.tokens import Prompt

N_ROWS = 30
TOLERANCE = 1e-5
"""Of the range of the logits."""
N_PROMPT = 10
TURNS = 11


def run(model: Model, *, quick: bool) -> list[Outcome]:
    """Compare 30 rows, each with one activation replaced; `quick` takes fewer turns."""
    prompt, edits = prompt_of(model, N_PROMPT), replacements(model)
    ways = {"ours": partial(ours, model, prompt, edits), "plain": partial(plain, model, prompt, edits)}
    results, times = take_turns(ways, turns=2 if quick else TURNS, device=model.device)
    found, wanted = results["ours"], results["plain"]
    unedited = model.run(prompt).logits[0, -1]
    unmoved = int((wanted - unedited).abs().amax(-1).le(TOLERANCE * _range(wanted)).sum())
    checks = (
        Check("logits, relative to their range", float((found - wanted).abs().max()) / _range(wanted), TOLERANCE),
        Check("edits that moved no logit", unmoved, 0),
    )
    return [
        compare(
            "rows",
            f"{N_ROWS} plans, {N_PROMPT} tokens",
            ours=("model.run([prompt] * 30, plans=…): one batch, another Replace in each row", times["ours"]),
            plain=("model.run(prompt, edit), 30 times", times["plain"]),
            checks=checks,
        )
    ]


def replacements(model: Model) -> list[Replace]:
    """Return one edit per row: attention outputs of the last token, block by block, from another prompt."""
    source = prompt_of(model, N_PROMPT + 3)
    activations = model.capture(source, "blocks.*.attn_out", positions="last")
    sites = [f"blocks.{row % model.n_blocks}.attn_out" for row in range(N_ROWS)]
    return [Replace(site, activations, positions="last") for site in sites]


def ours(model: Model, prompt: Prompt, edits: Sequence[Replace]) -> Tensor:
    """Run all plans in one batch; return the last logits per plan."""
    return model.run([prompt] * len(edits), plans=edits).logits[:, -1]


def plain(model: Model, prompt: Prompt, edits: Sequence[Replace]) -> Tensor:
    """Run plan by plan; return the last logits per plan."""
    return torch.stack([model.run(prompt, edit).logits[0, -1] for edit in edits])


def _range(logits: Tensor) -> float:
    return float(logits.max() - logits.min())
