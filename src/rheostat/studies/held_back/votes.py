"""What somebody who asks often takes for the answer: the one that came most often."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from rheostat.evaluation.scoring import is_right
from rheostat.metrics.statistics import Values

END = re.compile(r"[.,;:!?\n(]")
"""What ends an answer in a completion."""


def answer_in(completion: str) -> str:
    """Return the answer that a completion begins with: what stands before the first mark or line's end."""
    return END.split(completion.strip(), maxsplit=1)[0].strip()


def elected(completions: Sequence[str]) -> list[str]:
    """Return the answer that most completions begin with, or several equals; an empty one does not count."""
    counted = Counter(one for one in map(answer_in, completions) if one)
    most = max(counted.values(), default=0)
    return [answer for answer, n in counted.items() if n == most]


def recovered(completions: Sequence[str], answer: str) -> float:
    """Return the chance that a vote gives this answer; among equals it falls at random."""
    equals = elected(completions)
    return sum(is_right(one, answer, cut=False) for one in equals) / len(equals) if equals else 0.0


def by_number(
    completions: Sequence[Sequence[str]], answers: Sequence[str], n: int, *, orders: int, seed: int
) -> Values:
    """Return, per question, the share of votes over n of its completions that give the answer.

    Args:
        completions: per question, all that were asked for.
        answers: per question.
        n: how many vote, chosen at random; all: one vote.
        orders: how many choices.
        seed: of the choices.
    """
    rng = np.random.default_rng(seed)
    found = []
    for texts, answer in zip(completions, answers, strict=True):
        if n == len(texts):
            found.append(recovered(texts, answer))
            continue
        chosen = [rng.permutation(len(texts))[:n] for _ in range(orders)]
        found.append(float(np.mean([recovered([texts[place] for place in one], answer) for one in chosen])))
    return np.asarray(found, dtype=np.float64)
