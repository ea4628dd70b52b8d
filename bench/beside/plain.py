"""The plain loop that every process runs: a hook on the transformers model, one forward pass per cell."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from bench.beside.question import Question


def load_plain(folder: str) -> Any:
    """Load the model as transformers does by default, in float32."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def donor_activations(module: Any, question: Question) -> list[Tensor]:
    """Return what enters each block (pos, d_model) while the donor runs."""
    out = module(torch.tensor([question.donor]), use_cache=False, output_hidden_states=True, logits_to_keep=1)
    return [states[0] for states in out.hidden_states[:-1]]


@torch.no_grad()
def by_hooks(module: Any, prompt: Sequence[int], values: Sequence[Tensor], cells: Sequence[tuple[int, int]]) -> Tensor:
    """Run the whole prompt once per cell; return the last logits (cell, d_vocab)."""
    ids = torch.tensor([prompt])
    found = []
    for block, position in cells:

        def put(_block: object, inputs: tuple[Any, ...], block: int = block, position: int = position) -> Any:
            new = inputs[0].clone()
            new[0, position] = values[block][position]
            return (new, *inputs[1:])

        handle = module.model.layers[block].register_forward_pre_hook(put)
        try:
            found.append(module(ids, use_cache=False, logits_to_keep=1).logits[0, -1])
        finally:
            handle.remove()
    return torch.stack(found)
