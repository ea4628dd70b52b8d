"""A real sweep with a store survives `kill -9`: it ends with the uninterrupted table and computes nothing twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from rheostat.store.store import Store
from tests.store.sweep_to_kill import DIGITS, N_CELLS, PROMPTS, sweep

N = N_CELLS * len(PROMPTS)
MOST_LOST = 256
"""Results that one kill may lose: the chunk being computed."""


@pytest.fixture
def sweeper(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.store.sweep_to_kill", str(tmp_path / "store.sqlite"), str(tmp_path / "log")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


def begin(sweeper: subprocess.Popen[str]) -> int:
    """Let a sweep begin; return the number of its process."""
    sweeper.stdin.write("\n")
    sweeper.stdin.flush()
    return int(sweeper.stdout.readline())


def ended(sweeper: subprocess.Popen[str]) -> int:
    return int(sweeper.stdout.readline())


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def computed(log: Path) -> list[str]:
    """Return every result that was computed so far; a line that was cut by a kill is none."""
    return [line for line in log.read_text().split("\n")[:-1] if line] if log.exists() else []


def committed(path: Path) -> set[str]:
    if not path.exists():
        return set()
    with Store(path) as store:
        assert store._database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {f"{value:.{DIGITS}f}" for run in store.runs() for _, (value,) in store.rows(run.id)}


@pytest.mark.slow
def test_a_sweep_killed_at_ten_random_moments_ends_with_the_uninterrupted_table(tmp_path: Path, sweeper):
    path, log, moments = tmp_path / "store.sqlite", tmp_path / "log", random.Random(0)
    whole = sweep(tmp_path / "uninterrupted")
    all_results = {f"{value:.{DIGITS}f}" for value in whole["logit"]}
    assert len(all_results) == N == len(computed(tmp_path / "uninterrupted"))  # each can be told from the others
    finished: set[str] = set()
    for kill in range(10):
        n_before = len(computed(log))
        process = begin(sweeper)
        wanted = n_before + moments.randrange(MOST_LOST * 3 // 2)  # some kills hit the first chunk, some a later one
        while len(computed(log)) <= wanted and alive(process):
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.1))
        if alive(process):
            os.kill(process, signal.SIGKILL)
        assert ended(sweeper) == -signal.SIGKILL, "it finished before it was killed"
        again = finished & set(computed(log)[n_before:])
        assert not again, f"kill {kill}: {len(again)} finished results were computed again"
        before, finished = finished, committed(path)
        assert before <= finished <= all_results
    assert 0 < len(finished) < N
    n_before = len(computed(log))
    begin(sweeper)
    assert ended(sweeper) == 0
    last = computed(log)[n_before:]
    assert len(last) == len(set(last)) and set(last) == all_results - finished
    assert len(computed(log)) <= N + 10 * MOST_LOST
    resumed = sweep(log, path)
    assert len(computed(log)) == n_before + len(last)  # all of it came from the store
    pd.testing.assert_frame_equal(resumed, whole, rtol=0, atol=1e-12)
