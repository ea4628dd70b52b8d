"""Facts that a model answers correctly, with the tokens of their subjects."""

from collections.abc import Sequence
from dataclasses import dataclass

from rheostat.data.facts import Fact, all_facts
from rheostat.model import Model
from rheostat.sites.positions import Positions
from rheostat.studies.spread import spread

ROWS = 64
"""Prompts of one batch."""


@dataclass(frozen=True)
class KnownFact:
    """A fact whose first answer token is the model's own first choice."""

    fact: Fact
    tokens: tuple[int, ...]
    """The prompt's token ids, special tokens included."""
    subject: tuple[int, ...]
    """Positions of the subject's tokens."""
    answer: int
    """The answer's first token."""
    probability: float
    """That the model gives it."""


def known_facts(model: Model, limit: int | None = None, *, seed: int = 0) -> list[KnownFact]:
    """Return facts that the model answers correctly: its most likely next token begins the answer.

    Args:
        model: the loaded model.
        limit: at most so many, spread over the relations; None: all.
        seed: of the draw.
    """
    facts = all_facts()
    known = [found for start in range(0, len(facts), ROWS) for found in _known(model, facts[start : start + ROWS])]
    return known if limit is None else spread(known, lambda one: one.fact.relation, limit, seed)


def _known(model: Model, facts: Sequence[Fact]) -> list[KnownFact]:
    logits = model.run([fact.prompt for fact in facts], logits_at="last").logits[:, 0].float()
    tops, probabilities = logits.argmax(-1), logits.softmax(-1)
    found = []
    for fact, top, one in zip(facts, tops.tolist(), probabilities, strict=True):
        if begins(model.tokens.text(top), fact.answer):
            row = model.row(fact.prompt)
            subject = Positions.parse(fact.subject).in_prompt(row)
            found.append(KnownFact(fact, row.ids, subject, top, float(one[top])))
    return found


def begins(token: str, answer: str) -> bool:
    """Tell whether a token begins an answer unmistakably: with its space and at least three letters, or all of it."""
    return token == answer or (len(token) >= 4 and answer.startswith(token))
