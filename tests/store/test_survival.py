"""A store survives: `kill -9` at any moment, two processes at once, flipped bits, folders that cannot be written."""

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import pytest

from rheostat.base.errors import FileNotUsable, RheostatError
from rheostat.store.fill import fill
from rheostat.store.store import Store
from rheostat.store.table import run_table
from tests.store.conftest import expected
from tests.store.planted import N, numbers, wanted

CHUNK = 3

SWEEP = """
import json, sys, time
from pathlib import Path
from rheostat.store.fill import fill
from rheostat.store.store import Store
from tests.store.planted import numbers, wanted

def compute(places):
    with open(sys.argv[2], "a") as log:
        log.write(json.dumps(list(places)) + "\\n")
    time.sleep(float(sys.argv[3]))
    return numbers(places)

print("ready", flush=True)
while len(sys.argv) > 4 and not Path(sys.argv[4]).exists():
    pass
with Store(sys.argv[1]) as store:
    store.begin("sweep", {}, wanted())
    fill(store, wanted(), compute, chunk_size=3)
"""

DIE_AT_COMMIT = """
import os, signal, sys
from rheostat.store.store import Store

store = Store(sys.argv[1])
store.commit({"a": (1.0,)})
store._database.set_trace_callback(lambda sql: sql == "COMMIT" and os.kill(os.getpid(), signal.SIGKILL))
store.commit({f"b{number}": (2.0,) for number in range(5000)})
"""


def start(*arguments: object, code: str = SWEEP) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def computed(log: Path) -> list[list[int]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def wait_for_chunks(log: Path, n: int) -> None:
    while len(computed(log)) < n:
        time.sleep(0.001)


def done(path: Path) -> list[int]:
    """Return the places whose results are in the store; SQLite itself finds nothing wrong with it."""
    if not path.exists():
        return []
    with Store(path) as store:
        assert store._database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        missing = set(store.missing(one.key for one in wanted()))
    return [place for place, one in enumerate(wanted()) if one.key not in missing]


def only_table(path: Path) -> pd.DataFrame:
    with Store(path, read_only=True) as store:
        (run,) = store.runs()
        return run_table(store, run.id)


def test_kill_at_ten_random_moments_then_resume_gives_the_uninterrupted_table(tmp_path: Path):
    path, log, moments = tmp_path / "store.sqlite", tmp_path / "log", random.Random(0)
    finished: list[int] = []
    for kill in range(10):
        n_before = len(computed(log))
        with start(path, log, 0.01) as process:
            assert process.stdout.readline() == "ready\n"
            wait_for_chunks(log, n_before + moments.randrange(5))
            time.sleep(moments.uniform(0, 0.02))
            process.kill()
        assert process.returncode == -signal.SIGKILL, "it finished before it was killed"
        again = {place for chunk in computed(log)[n_before:] for place in chunk}
        assert not again & set(finished), f"kill {kill}: finished work was computed again"
        finished = done(path)
        assert len(finished) % CHUNK == 0
    n_before = len(computed(log))
    assert 0 < len(finished) < N
    with start(path, log, 0) as process:
        assert process.wait() == 0
    last = [place for chunk in computed(log)[n_before:] for place in chunk]
    assert sorted([*finished, *last]) == list(range(N))
    assert len(computed(log)) <= N // CHUNK + 10  # at most the chunk that each kill interrupted
    with start(tmp_path / "uninterrupted.sqlite", tmp_path / "other", 0) as process:
        assert process.wait() == 0
    pd.testing.assert_frame_equal(only_table(path), only_table(tmp_path / "uninterrupted.sqlite"), check_exact=True)
    pd.testing.assert_frame_equal(only_table(path), expected(), check_exact=True)


def test_a_kill_in_the_middle_of_a_commit_leaves_the_chunks_before_it(tmp_path: Path):
    with start(tmp_path / "store.sqlite", code=DIE_AT_COMMIT) as process:
        assert process.wait() == -signal.SIGKILL
    with Store(tmp_path / "store.sqlite") as store:
        assert store.results(["a", *(f"b{number}" for number in range(5000))]) == {"a": (1.0,)}


def test_two_processes_that_start_at_once_share_a_store(tmp_path: Path):
    path, logs, go = tmp_path / "store.sqlite", [tmp_path / "log0", tmp_path / "log1"], tmp_path / "go"
    with start(path, logs[0], 0.01, go) as one, start(path, logs[1], 0.01, go) as two:
        for process in (one, two):
            assert process.stdout.readline() == "ready\n"
        go.touch()
        assert (one.wait(), two.wait()) == (0, 0)
    pd.testing.assert_frame_equal(only_table(path), expected(), check_exact=True)
    work = [sorted(place for chunk in computed(log) for place in chunk) for log in logs]
    assert sorted({*work[0], *work[1]}) == list(range(N))
    assert all(len(one) == len(set(one)) for one in work)
    assert len(work[0]) + len(work[1]) < 1.5 * N  # in step they would compute everything twice


def test_a_store_that_another_process_keeps_locked_is_named(tmp_path: Path):
    path = tmp_path / "store.sqlite"
    with Store(path) as store, Store(path, timeout=0.1) as waiting:
        store._database.execute("BEGIN IMMEDIATE")
        with pytest.raises(FileNotUsable, match=r"store\.sqlite is being written by another process"):
            waiting.commit({"a": (1.0,)})
        store._database.execute("ROLLBACK")
        waiting.commit({"a": (1.0,)})
        assert store.missing(["a"]) == []


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "store.sqlite"
    with Store(path) as store:
        store.begin("sweep", {}, wanted())
        fill(store, wanted(), numbers, chunk_size=40)
    assert not path.with_name("store.sqlite-wal").exists()
    return path


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no database at all, but long enough to be read as the header of one" * 20, "is damaged"),
        (slice(0, 30_000), "is damaged"),
        (slice(0, 50), "is (damaged|no store of rheostat, or only the beginning of one)"),
    ],
    ids=["text", "truncated", "header only"],
)
def test_a_damaged_store_is_named_and_left_as_it_is(
    whole: Path, tmp_path: Path, content: bytes | slice, said: str, read_only: bool
):
    path = tmp_path / "bad.sqlite"
    path.write_bytes(content if isinstance(content, bytes) else whole.read_bytes()[content])
    before = path.read_bytes()
    with pytest.raises(FileNotUsable, match=f"bad.sqlite {said}"), Store(path, read_only=read_only) as store:
        run_table(store, 1)
    assert path.read_bytes() == before


def rows_or_refusal(path: Path) -> set[tuple[int, str, float]] | str:
    """Return the rows of a store's first run, or what is said instead."""
    try:
        with Store(path, read_only=True) as store:
            return {(row.block, row.token, row.value) for row in run_table(store, 1).itertuples()}
    except RheostatError as error:
        return str(error)


def test_a_flipped_bit_never_becomes_another_number(whole: Path, tmp_path: Path):
    content, flips = whole.read_bytes(), random.Random(1)
    right = {(row.block, row.token, row.value) for row in expected().itertuples()}
    n_refused = 0
    for _ in range(300):
        place = flips.randrange(len(content))
        path = tmp_path / "flipped.sqlite"
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << flips.randrange(8)]) + content[place + 1 :])
        found = rows_or_refusal(path)
        assert isinstance(found, set) or str(path) in found
        assert isinstance(found, str) or found <= right, f"byte {place} of {len(content)}"
        n_refused += isinstance(found, str)
    assert n_refused > 50  # the control: much of the file is content


def test_a_database_of_something_else_is_not_touched(tmp_path: Path):
    path = tmp_path / "mine.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE mine (x)")
    database.close()
    before = path.read_bytes()
    for read_only in (True, False):
        with pytest.raises(FileNotUsable, match=r"mine\.sqlite is no store of rheostat"):
            Store(path, read_only=read_only)
    assert path.read_bytes() == before


def test_a_store_of_a_later_format_is_refused(whole: Path, tmp_path: Path):
    path = Path(shutil.copy(whole, tmp_path / "later.sqlite"))
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(FileNotUsable, match="has format 2; this version of rheostat reads format 1"):
        Store(path)


def test_a_place_that_cannot_hold_a_store_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file" / "store.sqlite", Path("/proc/store.sqlite")):
        with pytest.raises(FileNotUsable, match=str(place)):
            Store(place)
    with pytest.raises(FileNotUsable, match="there is no store"):
        Store(tmp_path / "gone.sqlite", read_only=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


READ_ONLY = """
import os, sys
import pandas
from rheostat.base.errors import FileNotUsable
from rheostat.store.store import Store
from rheostat.store.table import run_table

pandas.DataFrame([{"a": 1}])
if os.geteuid() == 0:  # root may write everywhere
    os.setgid(65534)
    os.setuid(65534)
with Store(sys.argv[1], read_only=True) as store:
    print(len(run_table(store, 1)))
try:
    Store(sys.argv[1])
except FileNotUsable as error:
    print(error)
"""


def test_a_store_in_a_folder_that_cannot_be_written_is_read_and_not_written(whole: Path):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = Path(shutil.copy(whole, folder / "store.sqlite"))
        path.chmod(0o444)
        folder.chmod(0o555)
        command = [sys.executable, "-c", READ_ONLY, str(path)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        folder.chmod(0o755)
        assert ended.returncode == 0, ended.stderr
        first, second = ended.stdout.splitlines()
        assert first == str(N)
        assert second == f"{path} cannot be written (Permission denied)."
        assert [one.name for one in folder.iterdir()] == ["store.sqlite"]
