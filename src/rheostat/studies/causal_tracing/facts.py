"""The facts that are traced, the roles of their tokens, and the same prompts without a subject."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rheostat.model import Model
from rheostat.studies.known_facts import KnownFact, known_facts
from rheostat.studies.spread import spread

FIRST, MIDDLE, LAST_SUBJECT = "first subject token", "middle subject tokens", "last subject token"
NEXT, FURTHER, LAST = "first subsequent token", "further tokens", "last token"
ROLES = (FIRST, MIDDLE, LAST_SUBJECT, NEXT, FURTHER, LAST)
UNNAMED = "the same token of the prompt without a subject"
"""A control: the last subject token where `without_subject` names nothing."""
NO_NAME = " something"


def traced_facts(model: Model, limit: int, *, seed: int) -> list[KnownFact]:
    """Return known facts whose prompts go on after the subject, first those with subjects of several tokens."""
    known = [one for one in known_facts(model) if len(one.tokens) - 1 - one.subject[-1] >= 2]
    several = [one for one in known if len(one.subject) > 1]
    single = [one for one in known if len(one.subject) == 1]
    return [fact for part in (several, single) for fact in spread(part, _relation, len(part), seed)][:limit]


def role(known: KnownFact, position: int) -> str:
    """Return the role of a token at or after the subject's first; a subject of one token is its own last."""
    first, last = known.subject[0], known.subject[-1]
    if position <= last:
        return LAST_SUBJECT if position == last else FIRST if position == first else MIDDLE
    if position == len(known.tokens) - 1:
        return LAST
    return NEXT if position == last + 1 else FURTHER


def elsewhere(model: Model, known: KnownFact, *, seed: int) -> tuple[int, ...]:
    """Return as many tokens as the subject has, drawn from the others but special ones and the last; all if fewer."""
    special = set(getattr(model.tokenizer, "all_special_ids", ()))
    others = [
        position
        for position, token in enumerate(known.tokens[:-1])
        if position not in known.subject and token not in special
    ]
    drawn = np.random.default_rng([seed, *known.tokens]).permutation(others)[: len(known.subject)]
    return tuple(sorted(int(one) for one in drawn))


def without_subject(model: Model, known: KnownFact) -> KnownFact:
    """Return the prompt with its relation only, as long as before: each token of the subject says `something`.

    Its answer is the model's own first choice there.
    """
    filler = model.token_id(NO_NAME)
    tokens = tuple(filler if position in known.subject else token for position, token in enumerate(known.tokens))
    probabilities = model.run([list(tokens)], logits_at="last").logits[0, 0].float().softmax(-1)
    answer = int(probabilities.argmax())
    return replace(known, tokens=tokens, answer=answer, probability=float(probabilities[answer]))


def names(facts: Sequence[KnownFact]) -> list[tuple[int, ...]]:
    """Return what identifies facts in a step's parameters: their tokens."""
    return [one.tokens for one in facts]


def _relation(known: KnownFact) -> str:
    return known.fact.relation
