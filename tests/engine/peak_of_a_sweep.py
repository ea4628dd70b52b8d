"""Run sweeps of several budgets in a process of their own; print what each was estimated to need and what it needed.

Freed memory goes back to the system at once (the environment sets the allocator so), so that the peak of resident
memory above its level before is what the sweep held.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import rheostat as rh
from rheostat.engine.cells import Cell
from rheostat.engine.explain import explain_sweep
from rheostat.engine.sweep import sweep_chunks


def resident(name: str) -> int:
    """Return a line of the process's own status in bytes: VmRSS, or VmHWM, its highest value since the reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def main(budgets: list[int]) -> None:
    """Measure one sweep per budget."""
    torch.set_num_threads(1)
    sizes = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4}
    model = rh.load(LlamaForCausalLM(LlamaConfig(vocab_size=8000, **sizes)).eval())
    row = [5 + k % 90 for k in range(64)]
    values = torch.randn(120, 256)
    cells = [Cell(rh.Add("blocks.0.resid_pre", value, positions=8)) for value in values]
    for _ in sweep_chunks(model, row, cells[:4], max_token_rows=256):
        pass
    measured = []
    for budget in budgets:
        estimate = explain_sweep(model, row, cells, max_token_rows=budget).bytes
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        for _ in sweep_chunks(model, row, cells, max_token_rows=budget):
            pass
        measured.append({"budget": budget, "estimate": estimate, "peak": resident("VmHWM") - before})
    sys.stdout.write(json.dumps(measured) + "\n")


main([int(one) for one in sys.argv[1:]])
