"""A made-up language of words and labels: each word has a class that never changes, and some episodes flip all labels.

A row is words, each followed by a label. In most rows the label is the word's own; in the others it is the other one.
What comes next can be told from the word alone (the prior) until the labels shown say otherwise.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

N_WORDS, N_PAIRS = 64, 12
"""Words of a class, and pairs of a row."""
LABELS = (2 * N_WORDS, 2 * N_WORDS + 1)
REGULAR = 0.7
"""Share of rows whose labels are the words' own."""
STEPS, ROWS, RATE = 400, 32, 3e-3
HEAD = 16
N_ASKED = 256
"""Rows on which a network is measured."""


@dataclass(frozen=True)
class Size:
    """Of a network."""

    name: str
    n_blocks: int
    width: int


SIZES = (Size("one block of 16", 1, 16), Size("two blocks of 32", 2, 32))
"""The smaller cannot compare a label with its word and then look back at the result; the larger can."""


def episodes(
    rng: np.random.Generator, n: int, share: float | None = None
) -> tuple[Int[Tensor, "n token"], Int[Tensor, "n pair"]]:
    """Return rows of tokens and the classes of their words.

    Args:
        rng: of the draws.
        n: how many rows.
        share: of labels that are flipped, each by itself; None: of some rows all, as in training.
    """
    sides = rng.integers(0, 2, (n, N_PAIRS))
    words = sides * N_WORDS + rng.random((n, N_WORDS)).argsort(axis=1)[:, :N_PAIRS]
    drawn = rng.random((n, 1)) >= REGULAR if share is None else rng.random((n, N_PAIRS)) < share
    written = LABELS[0] + np.where(drawn, 1 - sides, sides)
    return torch.tensor(np.stack([words, written], axis=2).reshape(n, -1)), torch.tensor(sides)


def trained(size: Size, *, seed: int) -> LlamaForCausalLM:
    """Return a network trained on episodes."""
    rng = np.random.default_rng(seed)
    config = LlamaConfig(
        vocab_size=2 * N_WORDS + len(LABELS),
        hidden_size=size.width,
        num_hidden_layers=size.n_blocks,
        num_attention_heads=size.width // HEAD,
        num_key_value_heads=size.width // HEAD,
        intermediate_size=4 * size.width,
        max_position_embeddings=2 * N_PAIRS,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=()), torch.enable_grad():
        torch.manual_seed(seed)
        network = LlamaForCausalLM(config)
        optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=RATE, total_steps=STEPS)
        for _ in range(STEPS):
            rows, _ = episodes(rng, ROWS)
            optimiser.zero_grad()
            cross_entropy(_at_labels(network, rows).flatten(0, 1), rows[:, 1::2].flatten()).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    network.eval()
    return network


def accuracy(network: LlamaForCausalLM, share: float, *, seed: int) -> float:
    """Return the share of last pairs whose own label is likelier, after pairs of which a share is flipped."""
    rows, sides = episodes(np.random.default_rng(seed), N_ASKED, share)
    with torch.no_grad():
        last = _at_labels(network, rows)[:, -1]
    return float(((last[:, LABELS[1]] > last[:, LABELS[0]]) == (sides[:, -1] == 1)).float().mean())


def _at_labels(network: LlamaForCausalLM, rows: Tensor) -> Tensor:
    """Return the logits (row, pair, d_vocab) from which each label is told."""
    logits: Tensor = network(input_ids=rows, use_cache=False).logits[:, 0::2]
    return logits
