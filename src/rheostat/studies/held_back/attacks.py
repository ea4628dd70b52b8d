"""What a user of the API can do to get an answer that the impairment took; every completion, as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from rheostat.studies.held_back.questions import Question
from rheostat.studies.held_back.served import Completion, Request, Served
from rheostat.studies.held_back.variants import concluded, thinking

N_FRESH, N_FRESH_QUICK = 16, 8
"""Draws of the noise. A key is granted the first few; all of them are what fresh noise per request would give."""
N_REPEATS = 2
"""Times that one request is asked again."""
N_THOUGHT = 20
"""Tokens of a thought."""


def requests(question: Question, attack: str, level: float, key: str, n_fresh: int) -> list[Request]:
    """Return the requests of an attack that asks in one go."""
    base = Request(question.prompt, question.n_new, level, 0, key)
    return {
        "one request": lambda: [base],
        "the same again": lambda: [base] * N_REPEATS,
        "other draws": lambda: [replace(base, draw=draw) for draw in range(1, n_fresh)],
        "fillers": lambda: [replace(base, prompt=prompt) for prompt in question.fillers],
        "paraphrases": lambda: [replace(base, prompt=prompt) for prompt in question.paraphrases],
        "more examples": lambda: [replace(base, prompt=question.more)],
    }[attack]()


AT_ONCE = ("one request", "the same again", "other draws", "fillers", "paraphrases", "more examples")
THINKING, TOKENS = "a thought first", "token by token"
ATTACKS = (*AT_ONCE, THINKING, TOKENS)


def completions(
    served: Served, asked: Sequence[Question], attack: str, level: float, keys: Sequence[str], n_fresh: int = N_FRESH
) -> pd.DataFrame:
    """Return one row per key, question and request of an attack: columns key, item, number, text."""
    places = [(key, item) for key in keys for item in range(len(asked))]
    if attack in AT_ONCE:
        each = [requests(asked[item], attack, level, key, n_fresh) for key, item in places]
        texts = iter([one.text for one in served.answers([request for own in each for request in own])])
        rows = [
            (key, item, number, next(texts))
            for (key, item), own in zip(places, each, strict=True)
            for number in range(len(own))
        ]
    else:
        ask = {THINKING: thought_first, TOKENS: token_by_token}[attack]
        texts = iter(ask(served, [(asked[item], level, key) for key, item in places]))
        rows = [(key, item, 0, next(texts)) for key, item in places]
    return pd.DataFrame(rows, columns=["key", "item", "number", "text"])


Place = tuple[Question, float, str]
"""A question, the level and the key."""


def thought_first(served: Served, places: Sequence[Place]) -> list[str]:
    """Let the model write a thought, and ask for the answer behind it: two requests each."""
    first = [Request(thinking(one.pair), N_THOUGHT, level, 0, key) for one, level, key in places]
    thoughts = served.answers(first)
    then = [
        Request(concluded(one.pair, thought.text), one.n_new, level, 0, key)
        for (one, level, key), thought in zip(places, thoughts, strict=True)
    ]
    return [found.text for found in served.answers(then)]


def token_by_token(served: Served, places: Sequence[Place]) -> list[str]:
    """Ask for one token at a time and put it behind the prompt, so that the noise is drawn anew for each."""
    prompts = [list(served.network.row(one.prompt).ids) for one, _, _ in places]
    written: list[list[int]] = [[] for _ in places]
    open_ones = list(range(len(places)))
    for step in range(max(one.n_new for one, _, _ in places)):
        open_ones = [place for place in open_ones if step < places[place][0].n_new]
        asked = [
            Request([*prompts[place], *written[place]], 1, places[place][1], 0, places[place][2]) for place in open_ones
        ]
        found: Mapping[int, Completion] = dict(zip(open_ones, served.answers(asked), strict=True))
        for place, one in found.items():
            written[place] += one.ids
        open_ones = [place for place in open_ones if found[place].ids]
    return [served.network.decode(ids) if ids else "" for ids in written]
