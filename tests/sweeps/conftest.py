"""A toy in a folder, where workers can load it, and a sweep that moves its output."""

from pathlib import Path

import pytest
import torch

import rheostat as rh
from rheostat.models.toy import toy
from tests.contract.conftest import word_tokenizer

VECTOR = torch.linspace(-1, 3, 16, dtype=torch.float64)
PROMPTS = [[5, 9, 30, 12, 7], "w44 w8 w17", [6, 6, 40, 41]]
METRICS = [rh.LogitDifference(3, (4, 5, 6)), rh.Probability(7), rh.KLToClean(at="all"), rh.Loss()]
CELLS = [
    rh.Cell(rh.Add(f"blocks.{block}.{kind}", VECTOR, positions=where), {"block": block, "kind": kind, "where": where})
    for block in range(3)
    for kind in ("resid_pre", "attn_out", "mlp_out")
    for where in (0, 1, 2, -1)
]
CELLS.append(rh.Cell(rh.Replace("blocks.1.mlp_out", rh.FromPrompt("w5 w7"), positions="last"), {"kind": "replace"}))


def save_toy(folder: Path, *, seed: int = 0) -> Path:
    toy("llama", dtype=torch.float64, seed=seed).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy(tmp_path_factory.mktemp("toy"))
