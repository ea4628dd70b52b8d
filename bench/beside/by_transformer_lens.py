"""The grid by TransformerLens: its own patching function, and rows of a batch in hooks written by hand.

The bridge runs the transformers model with eager attention, and unprocessed weights. Token ids are given, so that no
BOS token is put before them.
"""

import sys
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from transformer_lens import patching
from transformer_lens.model_bridge import TransformerBridge

from bench.beside.process import Way, Ways, main
from bench.beside.question import Question


def ways(folder: str) -> Ways:
    bridge = TransformerBridge.boot_transformers(folder, device="cpu", dtype=torch.float32)

    def of(question: Question) -> Mapping[str, Way]:
        _, cache = bridge.run_with_cache(
            torch.tensor([question.donor]), names_filter=lambda name: name.endswith("hook_resid_pre")
        )
        return {
            "get_act_patch_resid_pre": Way(question.n_single, lambda: one_by_one(bridge, cache, question)),
            "rows in hooks": Way(question.n_rows, lambda: in_rows(bridge, cache, question)),
        }

    return of


def one_by_one(bridge: Any, cache: Any, question: Question) -> Tensor:
    """Call the library's function, with a metric that keeps the logits."""
    kept: list[Tensor] = []

    def metric(logits: Tensor) -> Tensor:
        kept.append(logits[0, -1].clone())
        return kept[-1][0]

    cells = pd.DataFrame(question.cells[: question.n_single], columns=["layer", "pos"])
    patching.get_act_patch_resid_pre(
        bridge, torch.tensor([question.prompt]), cache, metric, index_axis_names=None, index_df=cells
    )
    return torch.stack(kept)


def in_rows(bridge: Any, cache: Any, question: Question) -> Tensor:
    """Patch another cell in each row of a batch, with one hook per block."""
    cells = question.cells[: question.n_rows]
    parts = [cells[first : first + question.batch] for first in range(0, len(cells), question.batch)]
    return torch.cat([_batch(bridge, cache, question.prompt, part) for part in parts])


def _batch(bridge: Any, cache: Any, prompt: list[int], cells: list[tuple[int, int]]) -> Tensor:
    hooks = []
    for wanted in sorted({block for block, _ in cells}):
        name = f"blocks.{wanted}.hook_resid_pre"
        rows = [row for row, (block, _) in enumerate(cells) if block == wanted]
        positions = [cells[row][1] for row in rows]

        def put(
            activation: Tensor, hook: Any, name: str = name, rows: Any = rows, positions: Any = positions
        ) -> Tensor:
            activation[rows, positions] = cache[name][0, positions]
            return activation

        hooks.append((name, put))
    ids = torch.tensor([prompt]).expand(len(cells), -1)
    return bridge.run_with_hooks(ids, fwd_hooks=hooks, logits_to_keep=1)[:, -1].clone()


if __name__ == "__main__":
    sys.exit(main("transformer-lens", ways))
