"""A sweep on a real Ray cluster of two workers gives the table of a local one, also when its workers are killed.

Everything that needs no cluster is in `test_workers.py`.
"""

import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import rheostat as rh
from rheostat.store.store import Store
from rheostat.sweeps import on_ray
from rheostat.sweeps.cluster import connected
from tests.sweeps.conftest import CELLS, METRICS, PROMPTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra rheostat[ray] is not installed"),
]


@pytest.fixture(scope="module")
def here(toy_folder) -> pd.DataFrame:
    """What `rheostat patch` finds without a cluster."""
    return pd.DataFrame(patch(toy_folder))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A local cluster, which sweeps of this process find connected."""
    with connected(None, n_workers=2) as ray:
        yield ray


def workers() -> list[int]:
    """Return the process ids of the workers that this process, or a cluster that it started, runs."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.joinpath("comm").read_text().startswith("ray::Worker") and os.getpid() in ancestors(process):
                found.append(int(process.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def ancestors(process: Path) -> Iterator[int]:
    while process.name not in ("0", "1"):
        parent = process.joinpath("stat").read_text().rpartition(")")[2].split()[1]
        yield int(parent)
        process = process.parent / parent


def patch(folder: Path, *options: str) -> list[dict[str, Any]]:
    """Return the rows of `rheostat patch` on the toy."""
    command = ["patch", "w5 w9 w7", "w5 w8 w7", "--answer", "w11", "--versus", "w12", "--dtype", "float64", "--json"]
    line = [sys.executable, "-m", "rheostat.cli.main", *command, "--model", str(folder), *options]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_same_table_when_all_workers_are_killed_in_the_middle(cluster, toy_folder, tmp_path, monkeypatch, caplog):
    model = rh.load(toy_folder)
    killed: list[int] = []
    commit = Store.commit

    def commit_and_kill(store, results):
        if not killed:
            killed.extend(workers())
            for worker in killed:
                os.kill(worker, signal.SIGKILL)
        return commit(store, results)

    monkeypatch.setattr(Store, "commit", commit_and_kill)
    monkeypatch.setattr(on_ray, "SMALLEST", 8)
    with caplog.at_level(logging.WARNING, logger="rheostat"):
        table = model.sweep(PROMPTS, CELLS, METRICS, executor="ray", n_workers=2, store=tmp_path / "store.sqlite")
    assert killed
    assert "another one takes over the piece with cells" in caplog.text
    pd.testing.assert_frame_equal(table, model.sweep(PROMPTS, CELLS, METRICS), rtol=1e-9)
    assert table["kl_to_clean"].max() > 1e-3
    assert not set(workers()) & set(killed)


def test_a_cluster_of_ones_own_is_closed_to_others(cluster):
    (node,) = cluster.nodes()
    assert node["NodeManagerAddress"] == "127.0.0.1"
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_the_command_line_patches_on_a_given_cluster(cluster, toy_folder, here):
    address = cluster.get_runtime_context().gcs_address
    there = patch(toy_folder, "--executor", "ray", "--address", address, "--workers", "1")
    pd.testing.assert_frame_equal(pd.DataFrame(there), here, rtol=1e-9)
    assert here["score"].abs().max() > 0.1


def test_the_command_line_patches_on_a_cluster_of_its_own(toy_folder, here):
    there = patch(toy_folder, "--executor", "ray", "--workers", "1")
    pd.testing.assert_frame_equal(pd.DataFrame(there), here, rtol=1e-9)
