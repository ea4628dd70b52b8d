"""What a model writes under an edit: sampled continuations, and how much sense they make."""

import re
from collections.abc import Sequence

import torch

from rheostat.edit.arithmetic import Add
from rheostat.model import Model

NEW_TOKENS = 15
TEMPERATURE = 0.8


def continuations(model: Model, prompts: Sequence[str], plans: Sequence[list[Add]], seed: int) -> list[str]:
    """Return one sampled continuation per row."""
    texts: list[str] = []
    for start in range(0, len(prompts), 48):
        rows = slice(start, start + 48)
        out = model.generate(
            list(prompts[rows]),
            plans=list(plans[rows]),
            max_new_tokens=NEW_TOKENS,
            temperature=TEMPERATURE,
            seed=seed,
            row_ids=list(range(len(prompts)))[rows],
        )
        texts += out.texts
    return texts


def distinct_words(text: str) -> float:
    """Return the share of different words among the words of a text; 1 for an empty one."""
    words = re.findall(r"\w+", text.lower())
    return len(set(words)) / len(words) if words else 1.0


def surprise(model: Model, prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
    """Return nats per token of each continuation under the plain model; NaN where nothing was written."""
    found = []
    for prompt, text in zip(prompts, texts, strict=True):
        ids, start = model.encode(prompt + text), len(model.encode(prompt))
        if len(ids) <= start:
            found.append(float("nan"))
            continue
        logits = model.run(ids, logits_at=slice(start - 1, len(ids) - 1)).logits[0].float()
        chosen = logits.log_softmax(-1)[torch.arange(len(ids) - start), torch.tensor(ids[start:])]
        found.append(float(-chosen.mean()))
    return found
