"""What each way of asking recovers, question by question, from the completions that it got."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rheostat.metrics.statistics import Values
from rheostat.studies.held_back.attacks import THINKING, TOKENS
from rheostat.studies.held_back.questions import N_MANY
from rheostat.studies.held_back.votes import answer_in, by_number, recovered

INTACT, NOISE, SHRINK = "intact", "gaussian", "magnitude"
GRANTED = (3, 5)
"""Draws that a key may be granted."""
ORDERS = 20
ONE = "one request"


@dataclass(frozen=True)
class Recovered:
    """Shares of answers that each attack recovers, per question, over its keys."""

    attacks: Mapping[str, Values]
    """By what was asked, on the impaired network."""
    ceiling: Mapping[str, Values]
    """The same attacks on the intact network, where they were run."""
    shrunk: Mapping[str, Values]
    """On a network of which the outputs are shrunk instead, where nothing is drawn; empty where that was not run."""
    votes: Mapping[str, Mapping[int, Values]]
    """Series → answers in the vote → share per question."""
    unlike: int
    """Answers to a request asked again that differ from the first."""


def recovered_by(table: pd.DataFrame, answers: Sequence[str], *, seed: int) -> Recovered:
    """Return what each attack recovers.

    Args:
        table: of `measure`.
        answers: of the questions, in order.
        seed: of the votes' order.
    """
    by_mode = {str(mode): _Texts(rows, answers) for mode, rows in table.groupby("mode")}
    noise = by_mode[NOISE]
    votes = {
        "the same request": {n: noise.voted([ONE, "the same again"], n, seed) for n in (1, 3)},
        "fillers": _along(noise, [ONE, "fillers"], seed),
        "paraphrases": _along(noise, [ONE, "paraphrases"], seed),
        "both": _along(noise, [ONE, "fillers", "paraphrases"], seed),
        "fresh noise": _along(noise, [ONE, "other draws"], seed),
        "both, intact": _along(by_mode[INTACT], [ONE, "fillers", "paraphrases"], seed),
    }
    return Recovered(
        noise.attacks(),
        by_mode[INTACT].attacks(),
        by_mode[SHRINK].attacks() if SHRINK in by_mode else {},
        votes,
        noise.differing(),
    )


class _Texts:
    """The completions of one mode, question by question and key by key."""

    def __init__(self, rows: pd.DataFrame, answers: Sequence[str]) -> None:
        ordered = rows.sort_values("number")
        self._texts = {
            (str(attack), str(key), int(str(item))): list(found["text"])
            for (attack, key, item), found in ordered.groupby(["attack", "key", "item"])
        }
        self.keys = sorted(set(rows["key"]))
        self.names = list(dict.fromkeys(rows["attack"]))
        self._answers = answers

    def texts(self, names: Sequence[str], key: str, item: int) -> list[str]:
        """Return the completions of several attacks on one question."""
        return [text for name in names for text in self._texts[name, key, item]]

    def shares(self, names: Sequence[str], first: int | None = None) -> Values:
        """Return, per question, the share of keys under which a vote over the first completions gives the answer."""
        found = [
            [recovered(self.texts(names, key, item)[:first], answer) for key in self.keys]
            for item, answer in enumerate(self._answers)
        ]
        return np.asarray(np.mean(found, axis=1), dtype=np.float64)

    def voted(self, names: Sequence[str], n: int, seed: int) -> Values:
        """Return the same for votes over n of the completions, chosen at random."""
        found = [
            by_number(
                [self.texts(names, key, item) for item in range(len(self._answers))],
                self._answers,
                n,
                orders=ORDERS,
                seed=seed,
            )
            for key in self.keys
        ]
        return np.asarray(np.mean(found, axis=0), dtype=np.float64)

    def attacks(self) -> dict[str, Values]:
        """Return what each attack recovers; with a vote, where it asks several times."""
        found = {ONE: self.shares([ONE])}
        if "the same again" in self.names:
            found["same request, 3"] = self.shares([ONE, "the same again"])
        if "other draws" in self.names:
            for n in GRANTED:
                found[f"{n} granted draws"] = self.shares([ONE, "other draws"], n)
        for names in (["fillers"], ["paraphrases"], ["fillers", "paraphrases"]):
            n = 1 + len(self.texts(names, self.keys[0], 0))
            found[f"{'both' if len(names) > 1 else names[0]}, {n}"] = self.shares([ONE, *names])
        found[f"{N_MANY} examples"] = self.shares(["more examples"])
        for name in (THINKING, TOKENS):
            if name in self.names:
                found[name] = self.shares([name])
        if "other draws" in self.names:
            names = [ONE, "other draws"]
            found[f"fresh noise, {len(self.texts(names, self.keys[0], 0))}"] = self.shares(names)  # the last
        return found

    def differing(self) -> int:
        """Return how many answers to a request asked again are another one's than the first."""
        every = [
            self.texts([ONE, "the same again"], key, item) for key in self.keys for item in range(len(self._answers))
        ]
        return sum(answer_in(text) != answer_in(texts[0]) for texts in every for text in texts[1:])


def _along(texts: _Texts, names: Sequence[str], seed: int) -> dict[int, Values]:
    most = len(texts.texts(names, texts.keys[0], 0))
    return {n: texts.voted(names, n, seed) for n in sorted({1, 3, 5, 9, most} & set(range(1, most + 1)))}
