"""A network that learned nothing, as the control of what a trained one seems to know."""

import torch

from rheostat.model import Model, load


def untrained(model: Model, seed: int) -> Model:
    """Return a network of the same shape with fresh random weights and the same tokenizer."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = type(model.module)(model.module.config).float().eval()
    return load(fresh, tokenizer=model.tokenizer)
