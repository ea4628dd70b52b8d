"""Two processes, either of which may be killed at any moment: nothing is lost, and both logs agree."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from rheostat.evaluation.agreement import compare_logs, read_log
from rheostat.evaluation.signature import verify
from tests.evaluation.stand_in import KEY

ROOT = Path(__file__).parents[2]
N_ITEMS = 30
LEVELS = "1,0.8,0.6,0.3,0"


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start(*command: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "RHEOSTAT_API_KEY": KEY, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    line = [sys.executable, *map(str, command)]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def serve(port: int, owner: Path) -> subprocess.Popen[str]:
    return start(ROOT / "tests" / "evaluation" / "stand_in.py", port, owner)


def evaluator(port: int, folder: Path) -> subprocess.Popen[str]:
    task = folder / "task.jsonl"
    command = ["run", f"http://127.0.0.1:{port}", "--task", task, "--threshold", 0.4, "--levels", LEVELS]
    return start("-m", "rheostat.cli.main", "evaluate", *command, "--out", folder / "e", "--patience", 60)


def kill_after(process: subprocess.Popen[str], journal: Path, n_lines: int) -> int:
    """Kill a process when the journal holds so many lines; return how many it holds then."""
    until = time.monotonic() + 300
    while len(lines(journal)) < n_lines:
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return len(lines(journal))


def lines(journal: Path) -> list[str]:
    return journal.read_text().splitlines() if journal.exists() else []


@pytest.mark.slow  # each evaluator is a process that loads the library
def test_either_process_may_be_killed_and_the_evaluation_goes_on(tmp_path: Path, port: int):
    owner, journal = tmp_path / "owner", tmp_path / "e" / "answers.jsonl"
    owner.mkdir()
    (owner / "floor").write_text("0.5")
    items = [{"prompt": f"say word{n}", "answer": f" word{n}"} for n in range(N_ITEMS)]
    (tmp_path / "task.jsonl").write_text("\n".join(map(json.dumps, items)))

    server, first = serve(port, owner), evaluator(port, tmp_path)
    before = lines(journal)[: kill_after(first, journal, 10) - 1]  # the last line may be cut
    second = evaluator(port, tmp_path)
    kill_after(server, journal, N_ITEMS + 10)
    server = serve(port, owner)  # the evaluator waits for it
    printed, _ = second.communicate(timeout=300)
    assert second.returncode == 1, printed
    assert "refused at 0.3 (the key's floor is 0.5); ask the owner to lower the floor" in printed

    (owner / "floor").write_text("0")  # the next stage
    third = evaluator(port, tmp_path)
    printed, _ = third.communicate(timeout=300)
    server.kill()
    server.wait()
    assert third.returncode == 0, printed
    found = verify(tmp_path / "e" / "record.json")
    assert found.holds
    outcome = found.content["outcome"]
    assert (outcome["ended"], outcome["least_tested"]) == ("reached", 0.3)
    assert outcome["recommended"] >= outcome["least_safe"] >= outcome["least_tested"]
    assert [one["level"] for one in found.content["refusals"]] == [0.3]
    assert lines(journal)[: len(before)] == before  # what was answered before the kill is what the record rests on
    log = read_log(owner / "audit.jsonl")
    agreement = compare_logs(found.content, log)
    assert agreement.holds and agreement.n_answers == 4 * N_ITEMS and agreement.n_refusals == 1
    answered = Counter(line["request"] for line in log if line["event"] == "answered")
    assert sum(answered.values()) - len(answered) == len(agreement.only_log) <= 8  # asked twice: what was under way
