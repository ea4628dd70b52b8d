"""What a module writes by itself, greedily, through transformers and without anything of ours: for comparison."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from rheostat.models.network import Network
from rheostat.models.tokens import Prompt


def inputs_of(network: Network, prompt: Prompt, *, n_rows: int = 1) -> dict[str, Tensor]:
    """Return the arguments of a plain call for one prompt or equal ones, as a tokenizer makes them."""
    tensor = torch.tensor([network.row(prompt).ids] * n_rows, device=network.device)
    return {"input_ids": tensor, "attention_mask": torch.ones_like(tensor)}


def module_generate(network: Network, inputs: Mapping[str, Tensor], n_new: int) -> list[int]:
    """Return the new tokens of the first row."""
    module: Any = network.module
    stop = module.generation_config.eos_token_id
    pad = module.config.pad_token_id
    config = GenerationConfig(
        max_new_tokens=n_new,
        do_sample=False,
        use_cache=True,
        eos_token_id=stop,
        pad_token_id=pad if pad is not None else 0,
        disable_compile=True,
    )
    written: list[int] = module.generate(**inputs, generation_config=config)[0, inputs["input_ids"].shape[1] :].tolist()
    return written
