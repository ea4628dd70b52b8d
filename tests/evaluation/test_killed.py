"""Two processes, either of which may be killed at any moment: nothing is lost, and both logs agree."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
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


class Process:
    """A process of one of the two sides; it ends with the test."""

    def __init__(self, stack: ExitStack, output: Path, *command: object) -> None:
        environment = {**os.environ, "RHEOSTAT_API_KEY": KEY, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        self._output = output
        with output.open("w") as file:
            line = [sys.executable, *map(str, command)]
            self._process = subprocess.Popen(line, env=environment, stdout=file, stderr=file)
        stack.callback(self.kill)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def kill_after(self, journal: Path, n_lines: int) -> int:
        """Kill it when the journal holds so many lines; return how many it holds then."""
        while len(lines(journal)) < n_lines:
            assert self._process.poll() is None, self._output.read_text()
            time.sleep(0.01)
        self.kill()
        return len(lines(journal))

    def end(self) -> tuple[int, str]:
        """Wait for it; return its exit code and what it printed."""
        return self._process.wait(timeout=300), self._output.read_text()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Return what starts a process."""
    numbers = itertools.count()
    with ExitStack() as stack:
        yield lambda *command: Process(stack, tmp_path / f"{next(numbers)}.log", *command)


def lines(journal: Path) -> list[str]:
    return journal.read_text().splitlines() if journal.exists() else []


@pytest.mark.slow  # each evaluator is a process that loads the library
def test_either_process_may_be_killed_and_the_evaluation_goes_on(
    start: Callable[..., Process], tmp_path: Path, port: int
):
    owner, journal = tmp_path / "owner", tmp_path / "e" / "answers.jsonl"
    owner.mkdir()
    (owner / "floor").write_text("0.5")
    items = [{"prompt": f"say word{n}", "answer": f" word{n}"} for n in range(N_ITEMS)]
    (tmp_path / "task.jsonl").write_text("\n".join(map(json.dumps, items)))
    serving = (ROOT / "tests" / "evaluation" / "stand_in.py", port, owner)
    command = ["run", f"http://127.0.0.1:{port}", "--task", tmp_path / "task.jsonl", "--threshold", 0.4]
    command += ["--levels", LEVELS, "--out", tmp_path / "e", "--patience", 120]
    evaluating = ("-m", "rheostat.cli.main", "evaluate", *command)

    server, first = start(*serving), start(*evaluating)
    before = lines(journal)[: first.kill_after(journal, 10) - 1]  # the last line may be cut
    second = start(*evaluating)
    server.kill_after(journal, N_ITEMS + 10)
    start(*serving)  # the evaluator waits for it
    code, printed = second.end()
    assert code == 1, printed
    assert "refused at 0.3 (the key's floor is 0.5); ask the owner to lower the floor" in printed

    (owner / "floor").write_text("0")  # the next stage
    code, printed = start(*evaluating).end()
    assert code == 0, printed
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
