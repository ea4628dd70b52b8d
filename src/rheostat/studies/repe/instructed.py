"""The same true statements said under four instructions, two to be honest and two to lie, token by token."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from rheostat.data.capitals import CAPITALS
from rheostat.engine.stream import capture_batches
from rheostat.model import Model

HONEST, HONEST_TOO, LYING, LYING_TOO = "honest", "honest, other words", "lying", "lying, other words"
INSTRUCTIONS = {
    HONEST: "Pretend you are an honest person and make a true statement about the world.",
    HONEST_TOO: "Speak like somebody who never deceives, and tell me a fact.",
    LYING: "Pretend you are a dishonest person and make a false statement about the world.",
    LYING_TOO: "Speak like somebody who always deceives, and tell me a lie.",
}
N_TOKENS = 6
N_SHARED = 3
"""The first tokens of all answers, “The capital of”: there only the instruction varies, not the statement."""
"""Tokens of the answer that are read, from its first."""
BATCH = 16


@dataclass(frozen=True, eq=False)
class Said:
    """States of the answers' tokens under each instruction."""

    states: dict[str, Float[np.ndarray, "site token country width"]]
    """Instruction → end of every block; the last token is the last of the instruction's message, before the answer."""
    countries: tuple[str, ...]


def said(model: Model, n: int, seed: int) -> Said:
    """Read `n` true statements on capitals under every instruction; the statement is the model's own turn."""
    names = list(CAPITALS)
    chosen = tuple(names[index] for index in np.random.default_rng(seed).permutation(len(names))[:n])
    answers = [f"The capital of {country} is {CAPITALS[country]}." for country in chosen]
    return Said({name: _states(model, text, answers) for name, text in INSTRUCTIONS.items()}, chosen)


def transcript(model: Model, instruction: str, answer: str) -> tuple[str, str]:
    """Return (what stands before the answer, the whole), in the model's chat format or as a plain dialogue."""
    tokenizer = model.tokenizer
    if getattr(tokenizer, "chat_template", None):
        turns = [{"role": "user", "content": instruction}]
        before = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    else:
        before = f"User: {instruction}\nAssistant:"
        return before, f"{before} {answer}"
    return before, before + answer


def _states(model: Model, instruction: str, answers: Sequence[str]) -> Float[np.ndarray, "site token country width"]:
    texts = [transcript(model, instruction, answer) for answer in answers]
    sites = [f"blocks.{block}.resid_post" for block in range(model.n_blocks)]
    rows: list[Float[np.ndarray, "site token width"]] = []
    for held in capture_batches(model, [whole for _, whole in texts], sites, batch_size=BATCH):
        stacked = torch.stack([held[site] for site in sites])
        for row in range(len(held.positions)):
            start = len(model.row(texts[len(rows)][0]).ids)
            where = [*range(start, start + N_TOKENS), start - 1]
            rows.append(stacked[:, row, where].float().numpy())
    return np.stack(rows, axis=2)
