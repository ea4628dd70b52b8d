"""Tasks by name, from the tables of `data`; and tasks that a user wrote."""

import json
import logging
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from rheostat.base.errors import FileNotUsable, TaskNotUsable
from rheostat.base.names import did_you_mean
from rheostat.data.antonyms import ANTONYMS
from rheostat.data.articles import bbc_articles
from rheostat.data.capitals import CAPITALS
from rheostat.data.categories import ANIMALS, COLOURS, FIRST_NAMES
from rheostat.data.facts import all_facts
from rheostat.data.keyword_prompts import keyword_prompts
from rheostat.data.relations import COUNTRIES
from rheostat.tasks.item import Item, Task

N_EXAMPLES = 2
"""Examples that stand before the question, of tasks that need some."""
N_LISTS, LIST_LENGTH = 64, 8
LABELS = {
    "country": tuple(country.name for country in COUNTRIES),
    "color": COLOURS,
    "name": FIRST_NAMES,
    "animal": ANIMALS,
}
"""What the in-context labels say, and words of each kind."""
N_PER_LABEL = 15
N_PER_TOPIC = 16
_WITHOUT_SPACES = frozenset(
    ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
)
"""Scripts that do not part words by spaces, or join endings to them, as the names of their characters begin."""
_log = logging.getLogger("rheostat")


def named_task(name: str, *, seed: int = 0) -> Task:
    """Return a task of `TASKS`.

    Args:
        name: one of them.
        seed: of what is drawn: examples, lists of words.

    Raises:
        TaskNotUsable: there is no such task.
        DownloadFailed: a task of real texts could not fetch them.
    """
    if name not in TASKS:
        raise TaskNotUsable(
            f"no task {name!r}.{did_you_mean(name, TASKS)} All: {', '.join(TASKS)}; or a file NAME.jsonl with a line "
            '{"prompt": "The capital of France is", "answer": " Paris"} per item.'
        )
    return Task(name, tuple(TASKS[name](seed)))


def read_task(path: str | Path) -> Task:
    """Read a task from a JSONL file: a line {"prompt", "answer"} per item, optionally with "group".

    An answer starts with its space. Where it lacks one, and prompt and answer would be one word, a remark is logged.

    Raises:
        FileNotUsable: the file is missing, a line is no item, or prompt and answer both bring the space between them.
        BadArgument: it holds none.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileNotUsable(f"{path} cannot be read as a task ({error}).") from error
    items = {number: _item(path, number, line) for number, line in enumerate(lines, 1) if line.strip()}
    if grown := [number for number, item in items.items() if _one_word(item.prompt[-1], item.answer[0])]:
        first = items[grown[0]]
        _log.warning(
            "%s, line %d: the answer %r goes on the prompt's last word, %r. Most answers start with a space: %r. "
            "(Lines like this: %d of %d.)",
            *(path, grown[0], first.answer, first.prompt[-20:], f" {first.answer}", len(grown), len(items)),
        )
    return Task(path.stem, tuple(items.values()))


def _item(path: Path, number: int, line: str) -> Item:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise FileNotUsable(f"{path}, line {number}, is no JSON ({error}).") from error
    texts = [found.get(key, "") for key in ("prompt", "answer", "group")] if isinstance(found, dict) else []
    if not texts or not all(isinstance(text, str) for text in texts) or not all(texts[:2]):
        raise FileNotUsable(
            f'{path}, line {number}: write {{"prompt": "The capital of France is", "answer": " Paris"}}; "group" may '
            "follow."
        )
    item = Item(*texts)
    if item.prompt[-1] == item.answer[0] == " ":
        raise FileNotUsable(
            f"{path}, line {number}: the prompt ends in a space ({item.prompt[-20:]!r}) and the answer begins with "
            f"it ({item.answer!r}). Let the prompt end in its last word, and the answer bring the space."
        )
    return item


def _one_word(last: str, first: str) -> bool:
    """Tell whether two characters beside each other stand within a word of a script that parts words by spaces."""
    return all(
        one.isalnum() and unicodedata.name(one, "").split(" ")[0] not in _WITHOUT_SPACES for one in (last, first)
    )


# --- the tables -------------------------------------------------------------------------------------------------------


def _capitals(seed: int) -> Iterable[Item]:
    """Ask for a capital after examples, without which a base model may go on in other ways."""
    return _after_examples(list(CAPITALS.items()), "The capital of {} is", seed)


def _facts(relation: str) -> Callable[[int], Iterable[Item]]:
    return lambda seed: [Item(fact.prompt, fact.answer) for fact in all_facts() if fact.relation == relation]


def _antonyms(seed: int) -> Iterable[Item]:
    """Ask for the opposite of a word after examples of other words."""
    return _after_examples(list(ANTONYMS.items()), "The opposite of {} is", seed)


def _labels(seed: int) -> Iterable[Item]:
    """Ask what kind of thing a word is, after an example of each kind."""
    rng = np.random.default_rng(seed)
    drawn = {label: rng.permutation(words)[: 2 * N_PER_LABEL].tolist() for label, words in LABELS.items()}
    items = []
    for turn in range(N_PER_LABEL):
        for label, words in drawn.items():
            order = [list(LABELS)[place] for place in rng.permutation(len(LABELS))]
            shown = [f"{drawn[one][N_PER_LABEL + turn]}: {one}" for one in order]
            items.append(Item("\n".join([*shown, f"{words[turn]}:"]), f" {label}"))
    return items


def _copying(seed: int) -> Iterable[Item]:
    """Ask for the next word of a list of random words that is said a second time."""
    rng = np.random.default_rng(seed)
    words = sorted({*ANIMALS, *COLOURS, *ANTONYMS})
    items = []
    for _ in range(N_LISTS):
        chosen = rng.permutation(words)[:LIST_LENGTH].tolist()
        asked = int(rng.integers(LIST_LENGTH // 2, LIST_LENGTH))
        items.append(Item(f"{', '.join(chosen)}. {', '.join(chosen[:asked])},", f" {chosen[asked]}"))
    return items


def _topics(seed: int) -> Iterable[Item]:
    """Ask for the keywords of news articles; items of an article are a group."""
    found = keyword_prompts(bbc_articles(), n_per_topic=N_PER_TOPIC, per_passage=1, seed=seed)
    return [Item(one.prompt, f" {one.keyword}", one.article) for one in found]


def _after_examples(pairs: Sequence[tuple[str, str]], line: str, seed: int) -> Iterable[Item]:
    """Ask for every pair's second word, after examples that share no word with it."""
    rng = np.random.default_rng(seed)
    items = []
    for question, answer in pairs:
        others = [pair for pair in pairs if not {question, answer} & set(pair)]
        drawn = [others[place] for place in rng.permutation(len(others))[:N_EXAMPLES]]
        shown = [f"{line.format(one)} {other}." for one, other in drawn]
        items.append(Item("\n".join([*shown, line.format(question)]), f" {answer}"))
    return items


TASKS: dict[str, Callable[[int], Iterable[Item]]] = {
    "capitals": _capitals,
    "languages": _facts("language"),
    "continents": _facts("continent"),
    "cities": _facts("country of a city"),
    "states": _facts("state of a city"),
    "landmarks": _facts("city of a landmark"),
    "antonyms": _antonyms,
    "labels": _labels,
    "copying": _copying,
    "topics": _topics,
}
"""Name → what makes its items, given a seed."""
