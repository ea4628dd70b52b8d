"""`read_pair_task`: a user's own pairs, from a JSONL or CSV file."""

import csv
import json
from pathlib import Path

from rheostat.base.errors import FileNotUsable
from rheostat.tasks.pairs import Kind, Pair, PairTask

COLUMNS = ("question", "answer")
EXAMPLE = '{"question": "hot", "answer": "cold"}'


def read_pair_task(path: str | Path, *, kind: Kind = "knowledge") -> PairTask:
    """Read pairs, one a line: JSONL {"question", "answer"}, or CSV with these two columns in its first line.

    The task is called after the file.

    Args:
        path: ends in .jsonl or .csv.
        kind: of the task.

    Raises:
        FileNotUsable: the file is missing, or a line holds no pair.
        BadArgument: it holds no pair at all, or a question twice.
    """
    path = Path(path)
    if path.suffix not in (".jsonl", ".csv"):
        raise FileNotUsable(f"{path} is no file of pairs: give a .jsonl file with lines such as {EXAMPLE}, or a .csv.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FileNotUsable(f"{path} cannot be read as pairs ({error}).") from error
    rows = _json_rows(path, text) if path.suffix == ".jsonl" else list(csv.DictReader(text.splitlines()))
    return PairTask(path.stem, kind, tuple(_pair(path, number, row) for number, row in enumerate(rows, 1)))


def _json_rows(path: Path, text: str) -> list[object]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            rows += [json.loads(line)] if line.strip() else []
        except ValueError as error:
            raise FileNotUsable(f"{path}, line {number}, is no JSON ({error}).") from error
    return rows


def _pair(path: Path, number: int, row: object) -> Pair:
    found = [row.get(key) for key in COLUMNS] if isinstance(row, dict) else []
    texts = [text.strip() for text in found if isinstance(text, str) and text.strip()]
    if len(texts) < len(COLUMNS):
        raise FileNotUsable(f"{path}, pair {number}: give a question and an answer, such as {EXAMPLE}.")
    return Pair(*texts)
