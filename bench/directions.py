"""Fitting a direction at every block in one pass over the texts, against a pass over all of them for each block."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.outcome import Check, Outcome, compare
from bench.timing import scaled
from rheostat.directions.pairs import ContrastPair
from rheostat.directions.texts import drawn_order, texts_of_pairs
from rheostat.engine.turns import take_turns
from rheostat.model import Model

N_PAIRS = 16
N_PAIRS_LONG = 500
N_BLOCKS_LONG = 4
"""Over 500 pairs the plain way runs for so many of the blocks, spread over depth; its time is multiplied."""
BATCH = 32
TARGET = 3.0
TOLERANCE = 1e-3
"""Of the difference of two unit vectors: float32 activations, of other batches."""
METHODS = ("mean_difference", "pca")


def run(model: Model, *, quick: bool) -> list[Outcome]:
    """Compare both methods over some pairs, at every block; `quick` takes few pairs and one turn."""
    pairs = some_pairs(model, 6 if quick else N_PAIRS)
    every = range(model.n_blocks)
    return [_compare(model, pairs, method, every, turns=1 if quick else 3) for method in METHODS]


def run_long(model: Model, *, quick: bool) -> list[Outcome]:
    """Compare over 500 pairs, one turn: about a quarter of an hour."""
    pairs = some_pairs(model, 6 if quick else N_PAIRS_LONG)
    some = np.linspace(0, model.n_blocks - 1, min(N_BLOCKS_LONG, model.n_blocks)).round().astype(int).tolist()
    return [_compare(model, pairs, method, some, turns=1) for method in METHODS]


def _compare(model: Model, pairs: Sequence[ContrastPair], method: str, blocks: Sequence[int], *, turns: int) -> Outcome:
    ways = {"ours": partial(ours, model, pairs, method), "plain": partial(plain, model, pairs, method, blocks)}
    results, times = take_turns(ways, turns=turns, device=model.device)
    error = float((results["ours"][list(blocks)] - results["plain"]).norm(dim=-1).max())
    return compare(
        "directions",
        f"{method}, {len(pairs)} pairs, {model.n_blocks} blocks",
        ours=(f'fit_directions(pairs, method="{method}", held_out=0)', times["ours"]),
        plain=(
            f"for each of {model.n_blocks} blocks ({len(blocks)} timed): all texts, {BATCH} at once, a forward hook",
            scaled(times["plain"], len(blocks), model.n_blocks),
        ),
        checks=(Check("unit vectors, length of their difference", error, TOLERANCE),),
        target=TARGET,
    )


def some_pairs(model: Model, n: int) -> list[ContrastPair]:
    """Return pairs of 5 to 16 tokens that end differently; their tokens are drawn, as only their number matters."""
    drawn = torch.Generator().manual_seed(0)
    known = torch.tensor([token for token in range(4, min(model.d_vocab, 4000)) if model.decode([token]).strip()])

    def text(length: int) -> str:
        return model.decode(known[torch.randint(len(known), (length,), generator=drawn)].tolist()).strip()

    endings = [model.decode([int(known[place])]).strip() for place in (0, 1)]
    starts = [text(4 + (5 * number) % 12) for number in range(n)]
    return [ContrastPair(f"{start} {endings[0]}", f"{start} {endings[1]}") for start in starts]


def ours(model: Model, pairs: Sequence[ContrastPair], method: str) -> Tensor:
    """Fit at all blocks at once; return the unit vectors (block, d_model)."""
    found = model.fit_directions(pairs, method=method, held_out=0, shuffles=0, batch_size=BATCH)
    return torch.stack([one.unit.double() for one in found.values()])


def plain(model: Model, pairs: Sequence[ContrastPair], method: str, blocks: Sequence[int]) -> Tensor:
    """Fit block by block, each from a pass of its own over all texts; return the unit vectors (block, d_model)."""
    texts = texts_of_pairs(model, pairs)
    order = torch.from_numpy(drawn_order(texts, np.arange(len(texts.texts)), seed=0)[::2])[:, None]
    found = []
    for block in blocks:
        held = last_tokens(model, texts.texts, block).double().cpu()
        differences = held[::2] - held[1::2]
        mean = differences.mean(0)
        if method == "pca":
            mixed = differences * order
            axis = torch.linalg.svd(mixed - mixed.mean(0), full_matrices=False).Vh[0]
            mean = axis * torch.sign(axis @ mean)
        found.append(mean / mean.norm())
    return torch.stack(found)


@torch.no_grad()
def last_tokens(model: Model, texts: Sequence[str], block: int) -> Tensor:
    """Return a block's output at the last token of each text, (text, d_model), by a plain forward hook."""
    taken: list[Tensor] = []
    keep = {"logits_to_keep": 1} if "logits_to_keep" in model.parameters_of_forward else {}
    for first in range(0, len(texts), BATCH):
        rows = [torch.tensor(model.encode(text)) for text in texts[first : first + BATCH]]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(model.device)
        lengths = torch.tensor([len(row) for row in rows], device=model.device)
        mask = (torch.arange(ids.shape[1], device=model.device) < lengths[:, None]).long()

        def take(_module: object, _inputs: object, output: Any, ends: Tensor = lengths - 1) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            taken.append(hidden[torch.arange(len(ends)), ends].clone())

        handle = model.part(f"{model.body.blocks}.{block}").register_forward_hook(take)
        try:
            model.module(input_ids=ids, attention_mask=mask, use_cache=False, **keep)
        finally:
            handle.remove()
    return torch.cat(taken)
