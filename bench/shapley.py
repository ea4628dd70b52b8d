"""What coalitions of MLP neurons are worth: rows of one pass behind their block, against full hooked passes."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from bench.outcome import Check, Outcome, compare, relative_error
from rheostat.engine.turns import take_turns
from rheostat.metrics.loss import Loss
from rheostat.model import Model
from rheostat.neurons.shapley.neuron_game import NeuronGame, neuron_players
from rheostat.neurons.shapley.walk import coalitions, permutation
from rheostat.sites.site import Site, tap

TURNS = 3
TOLERANCE = 1e-4
"""Of the loss."""
N_TOKENS = 24
N_COALITIONS, N_QUICK = 64, 4
BLOCKS = (-1, -6)
"""The last, behind which there is nothing but the unembedding, and one with five blocks behind it."""


def run(model: Model, *, quick: bool) -> list[Outcome]:
    """Compare block by block; `quick` takes the last, once."""
    blocks, turns, n = (BLOCKS[:1], 1, N_QUICK) if quick else (BLOCKS, TURNS, N_COALITIONS)
    return [compare_block(model, block % model.n_blocks, n, turns=turns) for block in blocks]


def compare_block(model: Model, block: int, n_coalitions: int, *, turns: int) -> Outcome:
    """Time coalitions along one permutation on one prompt, neurons removed at all of its tokens."""
    prompt = [int(token) for token in np.random.default_rng(0).integers(5, model.d_vocab, N_TOKENS)]
    n_units = model.body.shape("neurons")[0]
    n_left = [int(n) for n in np.linspace(0, n_units, n_coalitions)]
    present = coalitions(permutation(n_units, seed=0, walk=0), n_left)
    given = model, block, prompt, present
    ways = {"ours": partial(ours, *given), "plain": partial(plain, *given)}
    results, times = take_turns(ways, turns=turns, device=model.device)
    check = Check("loss, relative", relative_error(results["ours"], results["plain"]), TOLERANCE)
    return compare(
        "shapley",
        f"block {block}, {n_coalitions} coalitions, {N_TOKENS} tokens",
        ours=("a pass of many coalitions, from their block on", times["ours"]),
        plain=("a full pass for each, with a hook", times["plain"]),
        checks=(check,),
    )


def ours(model: Model, block: int, prompt: list[int], present: np.ndarray) -> Tensor:
    """Return each coalition's loss of the last token."""
    game = NeuronGame(model, neuron_players(model, block), [prompt], Loss(slice(-1, None)))
    return torch.from_numpy(game.per_prompt(present, [0])[:, 0])


def plain(model: Model, block: int, prompt: list[int], present: np.ndarray) -> Tensor:
    """Return the same, coalition by coalition."""
    where = tap(model, Site("neurons", block))
    ids, losses = torch.tensor([prompt], device=model.device), []
    for row in present:
        kept = torch.tensor(row, device=model.device)
        handle = model.module.get_submodule(where.module).register_forward_pre_hook(
            lambda _module, arguments, kept=kept: (arguments[0] * kept, *arguments[1:])
        )
        with torch.no_grad():
            logits = model.module(input_ids=ids, logits_to_keep=2).logits[0, 0].float()
        handle.remove()
        losses.append(float(logits.logsumexp(-1) - logits[prompt[-1]]))
    return torch.tensor(losses, dtype=torch.float64)
