"""A sweep stays within the memory that `explain_sweep` states, and a smaller budget needs less."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WHERE_MEASURED = Path("/proc/self/clear_refs")
SCRIPT = Path(__file__).with_name("peak_of_a_sweep.py")
AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.skipif(not WHERE_MEASURED.exists(), reason="peaks of resident memory are read where Linux states them")
def test_a_sweep_stays_within_its_estimate_and_a_smaller_budget_needs_less():
    command = [sys.executable, str(SCRIPT), "512", "4096"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **AT_ONCE})
    small, large = json.loads(done.stdout.splitlines()[-1])
    for one in (small, large):
        assert 0 < one["peak"] <= one["estimate"], one
        assert one["estimate"] < 4 * one["peak"], one
    assert small["peak"] < large["peak"] / 2
