"""The lens unembeds all blocks, points and positions in a few matrix products instead of one by one."""

import cProfile
import pstats
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from bench.outcome import Check, Outcome, compare
from bench.prompt import prompt_of
from rheostat.engine.turns import take_turns
from rheostat.lenses.reading import POINTS, Reading
from rheostat.model import Model
from rheostat.models.tokens import Prompt

TARGET = 5.0
TOLERANCE = 1e-4
"""Of probabilities; and a cell whose two likeliest tokens are closer than this has no top token to agree on."""
K = 10
N_PROMPT = 20
TURNS = 5


@dataclass(frozen=True)
class TopTokens:
    """Per (block, point, position), in this order, the likeliest tokens: (cell, k)."""

    ids: Tensor
    probabilities: Tensor


def run(model: Model, *, quick: bool) -> list[Outcome]:
    """Compare on one prompt; `quick` takes a shorter one and fewer turns."""
    n_tokens, turns = (4, 1) if quick else (N_PROMPT, TURNS)
    prompt = prompt_of(model, n_tokens)
    ways = {"ours": partial(ours, model, prompt), "plain": partial(plain, model, prompt)}
    results, times = take_turns(ways, turns=turns, device=model.device)
    found, wanted = top_tokens(results["ours"]), results["plain"]
    checks = (
        Check("top tokens that differ, near-ties apart", _differing(found, wanted), 0),
        Check(f"probabilities of the {K} likeliest tokens", _probability_error(found, wanted), TOLERANCE),
    )
    n_cells = len(wanted.ids)
    outcome = compare(
        "lens",
        f"{n_tokens} tokens, {n_cells} cells",
        ours=(
            f'model.lens(prompt, positions="all", k={K}): forward pass, entropy, KL and tables included',
            times["ours"],
        ),
        plain=(
            f"the same forward pass with capture; then per cell norm, unembedding, softmax and top {K}",
            times["plain"],
        ),
        checks=checks,
        target=TARGET,
        parts=where_time_goes(model, prompt),
    )
    return [outcome]


def ours(model: Model, prompt: Prompt) -> Reading:
    """Read everything, tables included."""
    return model.lens(prompt, positions="all", k=K)


@torch.no_grad()
def plain(model: Model, prompt: Prompt) -> TopTokens:
    """Capture everything, then decode vector by vector."""
    points = [point for point in POINTS if point in model.body.taps]
    sites = [f"blocks.*.{point}" for point in points]
    activations = model.run(prompt, capture=sites, capture_at="all").activations
    assert activations is not None
    decoded = [
        model.unembed(vector).softmax(-1).topk(K)
        for block in range(model.n_blocks)
        for point in points
        for vector in activations[f"blocks.{block}.{point}"][0]
    ]
    return TopTokens(torch.stack([top.indices for top in decoded]), torch.stack([top.values for top in decoded]))


def top_tokens(reading: Reading) -> TopTokens:
    """Take the likeliest tokens out of a reading's table."""
    ids = torch.tensor(reading.table["token_id"].to_numpy()).view(-1, K)
    return TopTokens(ids, torch.tensor(reading.table["probability"].to_numpy()).view(-1, K))


def where_time_goes(model: Model, prompt: Prompt) -> dict[str, float]:
    """Split one profiled reading: forward pass, unembedding, passes over the vocabulary, token texts, tables."""
    with cProfile.Profile() as profile:
        ours(model, prompt)
    spent = {
        ("/".join(Path(file).parts[-2:]), function): cumulative
        for (file, _, function), (_, _, _, cumulative, _) in pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
    }
    texts = spent["lenses/reading.py", "text"] + spent["lenses/reading.py", "form"]
    whole, forward = spent["lenses/reading.py", "read"], spent["engine/forward.py", "run"]
    decoding, unembedding = spent["lenses/reading.py", "_decode"], spent["models/network.py", "unembed"]
    return {
        "forward pass": forward,
        "unembedding": unembedding,
        "softmax, top k, entropy, KL": decoding - unembedding,
        "token texts": texts,
        "tables and the rest": whole - forward - decoding - texts,
    }


def _differing(found: TopTokens, wanted: TopTokens) -> float:
    if found.ids.shape != wanted.ids.shape:
        return float("inf")
    clear = wanted.probabilities[:, 0] - wanted.probabilities[:, 1] > TOLERANCE
    return float(((found.ids[:, 0] != wanted.ids[:, 0].cpu()) & clear.cpu()).sum())


def _probability_error(found: TopTokens, wanted: TopTokens) -> float:
    if found.probabilities.shape != wanted.probabilities.shape:
        return float("inf")
    return float((found.probabilities - wanted.probabilities.cpu()).abs().max())
