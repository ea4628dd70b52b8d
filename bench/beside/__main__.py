"""`python -m bench.beside`: the same grid by rheostat and by other libraries; exit code 1 when numbers disagree.

Writes build/beside.json. Without network where the environments and the model are there already.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import machine
from bench.beside.comparison import compare, moved
from bench.beside.environment import ROOT, NotInstallable, interpreter
from bench.beside.question import Answer, Question, read_answers, write_questions
from bench.patching import PAIRS, pair
from rheostat.base.errors import RheostatError
from rheostat.model import Model, load
from rheostat.models.zoo import BUILT_INS, DEFAULT_MODEL

LIBRARIES = ("transformer_lens", "nnsight")
RECORD = Path("build/beside.json")
ROW_TOKENS = 1024
"""Rows × tokens of a batch."""
ASKED = tuple(PAIRS)[:2]
N_SINGLE = 20
TURNS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask every library; return 0, 1 when one failed or numbers disagree, or 2 when the input was refused."""
    asked = parser().parse_args(arguments)
    try:
        model = load(DEFAULT_MODEL, dtype="float32")
    except RheostatError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    record = measure(model, str(BUILT_INS[DEFAULT_MODEL].folder), asked.only or LIBRARIES, quick=asked.quick)
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    show(record, Console(width=None if sys.stdout.isatty() else 160))
    print(f"wrote {RECORD}", file=sys.stderr)
    return 0 if record["agrees"] and not record["failed"] else 1


def parser() -> argparse.ArgumentParser:
    """Return the reader of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m bench.beside",
        description="Patch a grid by rheostat and by other libraries, each in an environment of its own.",
        epilog="Example: python -m bench.beside --only nnsight --quick",
    )
    made.add_argument("--only", action="append", choices=LIBRARIES, help="ask this library; repeatable")
    made.add_argument("--quick", action="store_true", help="few cells and turns: shows that it runs and agrees")
    return made


def measure(model: Model, folder: str, libraries: Sequence[str], *, quick: bool) -> dict[str, Any]:
    """Ask rheostat and the libraries; return the record."""
    asked = questions(model, quick=quick)
    found: dict[str, list[dict[str, Answer]]] = {}
    versions, failed = {}, {}
    load_before = machine.load()
    for library in ("rheostat", *libraries):
        try:
            found[library], versions[library] = ask(library, folder, asked)
        except (NotInstallable, NotAnswered) as error:
            failed[library] = str(error)
    lines: list[dict[str, Any]] = []
    if "rheostat" in found:
        for number, question in enumerate(asked):
            lines += compare(question, {library: answers[number] for library, answers in found.items()})
    cells_move = [moved(answers["sweep"].logits) for answers in found.get("rheostat", [])]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        **machine.describe(model),
        "threads": 1,
        "load": [load_before, machine.load()],
        "libraries": versions,
        "failed": failed,
        "agrees": bool(lines) and all(line["same"] for line in lines) and all(cells_move),
        "lines": lines,
    }


def questions(model: Model, *, quick: bool) -> list[Question]:
    """Return what is asked; `quick` only the shortest pair, few cells, once."""
    made = []
    for name in ASKED[: 1 if quick else None]:
        prompt, donor = pair(model, PAIRS[name])
        cells = [(block, position) for block in range(model.n_blocks) for position in range(len(prompt))]
        random.Random(0).shuffle(cells)
        batch = max(1, ROW_TOKENS // len(prompt))
        n_single, n_rows, turns = (4, 8, 1) if quick else (min(len(cells), N_SINGLE), min(len(cells), batch), TURNS)
        made.append(Question(name, prompt, donor, cells, n_single, n_rows, batch, turns))
    return made


class NotAnswered(Exception):
    """A process failed; the message is the end of what it said."""


def ask(library: str, folder: str, asked: Sequence[Question]) -> tuple[list[dict[str, Answer]], Mapping[str, str]]:
    """Run the process of a library; return its answers per question, and what computed.

    Raises:
        NotInstallable, NotAnswered
    """
    python = sys.executable if library == "rheostat" else str(interpreter(library))
    print(f"{library} …", file=sys.stderr, flush=True)
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as temporary:
        answers = Path(temporary)
        write_questions(answers / "questions", asked)
        command = [python, "-m", f"bench.beside.by_{library}", folder, str(answers / "questions"), str(answers)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotAnswered(done.stderr.strip()[-2000:])
        versions = json.loads((answers / "versions.json").read_text(encoding="utf-8"))
        return [read_answers(answers, number) for number in range(len(asked))], versions


def show(record: Mapping[str, Any], console: Console) -> None:
    """Print a record as a table."""
    for library, versions in record["libraries"].items():
        console.print(f"{library}: " + ", ".join(f"{name} {number}" for name, number in versions.items()))
    table = Table("prompt pair", "library", "way", "cells run", "grid, s", "time over plain loop", "ours is", "error")
    for line in record["lines"]:
        over = line["over_plain"]
        table.add_row(
            line["question"],
            line["library"],
            line["way"],
            f"{line['n_run']} of {line['n_cells']}",
            f"{line['seconds']:.3g}",
            f"{over['median']:.3g} [{over['low']:.3g}, {over['high']:.3g}]",
            f"{line['ours_is_faster']:.3g} × faster",
            f"{line['error']:.1e}" + ("" if line["same"] else " DISAGREES"),
        )
    console.print(table)
    for library, said in record["failed"].items():
        console.print(f"{library} failed: {said}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
