"""A stored sweep that says what it computes, for each line on stdin one, in a process of its own that may be killed.

`python -m tests.store.sweep_to_kill STORE LOG` prints `ready`; then, per line, the number of a forked process that
sweeps, and how that process ended: its exit status, or minus the signal.
"""

import os
import sys
import time
from pathlib import Path

import pandas as pd
import torch

import rheostat as rh
from rheostat.metrics.function import OfLogits
from rheostat.models.toy import toy

N_CELLS = 250
PROMPTS = [[5 + number, 9, 30 + number, 12] for number in range(16)]
DIGITS = 9
"""After the point: far above float noise, far below the distance between two results."""
SECONDS_PER_RESULT = 1e-3
"""How long a swept process waits after each result, so that a moment to kill it can be hit on any machine."""


def cells() -> list[rh.Cell]:
    vector = torch.linspace(-1, 2, 16, dtype=torch.float64)
    return [
        rh.Cell(
            rh.Add(f"blocks.{number % 3}.resid_pre", vector, positions=-1, strength=1 + number / 100), {"n": number}
        )
        for number in range(N_CELLS)
    ]


def sweep(
    log: Path, store: Path | None = None, *, prompts: list[list[int]] = PROMPTS, seconds_per_result: float = 0
) -> pd.DataFrame:
    """Sweep; every result that is computed stands in the log, on a line of its own, before it can be committed."""

    def logit(logits: torch.Tensor) -> torch.Tensor:
        found = logits[:, 0, 7]
        with log.open("a", buffering=1) as lines:
            for value in found.tolist():
                lines.write(f"{value:.{DIGITS}f}\n")
                time.sleep(seconds_per_result)
        return found

    return rh.load(toy("llama", dtype=torch.float64)).sweep(prompts, cells(), OfLogits("logit", logit), store=store)


def serve(store: Path, log: Path) -> None:
    """Fork a sweep per line; this process has loaded everything, so a sweep begins at once."""
    sweep(Path(os.devnull), prompts=PROMPTS[:1])
    _say("ready")
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            sweep(log, store, seconds_per_result=SECONDS_PER_RESULT)
            os._exit(0)
        _say(child)
        _say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]))
