"""A vector added at every layer for every pair of digits: cells of a plain module share passes, against one run each.

The network has the shape of the study `mnist-addition`; its weights and images are random, which changes no time.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from bench.outcome import Check, Outcome, compare, relative_error
from bench.timing import scaled
from rheostat.edit.arithmetic import Add
from rheostat.engine.plain_sweep import sweep_outputs
from rheostat.engine.turns import take_turns
from rheostat.model import Model, load

WIDTH = 512
N_LAYERS, N_PAIRS = 5, 90
N_IMAGES, N_IMAGES_QUICK = 10_000, 50
CHUNK = 500
"""Images of one sweep."""
N_SINGLE, N_SINGLE_QUICK = 30, 5
"""The plain way runs so many of the cells, spread over the layers; its time is multiplied."""
TURNS = 3
TOLERANCE = 1e-5


def run(_model: Model, *, quick: bool) -> list[Outcome]:
    """Compare all cells in shared passes with some of them one by one, whose time is scaled up."""
    network, cells = perceptron(), additions()
    images = torch.randn(N_IMAGES_QUICK if quick else N_IMAGES, 784, generator=torch.Generator().manual_seed(1))
    some = cells[:: len(cells) // (N_SINGLE_QUICK if quick else N_SINGLE)]
    ways = {"ours": partial(ours, network, images, cells), "plain": partial(plain, network, images, some)}
    results, times = take_turns(ways, turns=1 if quick else TURNS, device=images.device)
    clean = network.run_plain(images).output
    unmoved = int(((results["plain"] - clean).abs().amax((1, 2)) == 0).sum())
    checks = (
        Check(
            "outputs, relative",
            relative_error(results["ours"][:: len(cells) // len(some)], results["plain"]),
            TOLERANCE,
        ),
        Check("cells that moved nothing", unmoved, 0),
    )
    return [
        compare(
            "plain_sweep",
            f"{len(cells)} cells, {len(images)} images",
            ours=("sweep_outputs: cells share passes and begin behind what they edit", times["ours"]),
            plain=(
                f"run_plain per cell, {len(some)} of {len(cells)} run",
                scaled(times["plain"], len(some), len(cells)),
            ),
            checks=checks,
        )
    ]


def perceptron() -> Model:
    """Return a network of the study's shape with random weights."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(784, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10)
    )  # fmt: skip
    return load(module.eval().requires_grad_(False))


def additions() -> list[Add]:
    """Return one edit per layer and pair."""
    drawn = torch.Generator().manual_seed(2)
    widths = (WIDTH, WIDTH, WIDTH, WIDTH, 10)
    return [
        Add(str(layer), torch.randn(widths[layer], generator=drawn))
        for layer in range(N_LAYERS)
        for _ in range(N_PAIRS)
    ]


def ours(network: Model, images: Tensor, cells: Sequence[Add]) -> Tensor:
    """Return the outputs of all cells (cell, image, output)."""
    found = torch.empty(len(cells), len(images), 10)
    for start in range(0, len(images), CHUNK):
        for chunk in sweep_outputs(network, images[start : start + CHUNK], cells):
            found[list(chunk.cells), start : start + CHUNK] = chunk.outputs
    return found


def plain(network: Model, images: Tensor, cells: Sequence[Add]) -> Tensor:
    """Return the outputs of some cells, each run alone."""
    return torch.stack([network.run_plain(images, cell).output for cell in cells])
