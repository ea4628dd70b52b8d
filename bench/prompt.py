"""Prompts of a given length."""

from rheostat.model import Model
from rheostat.models.tokens import Prompt

TEXT = """The capital of Germany is Berlin, and the river that flows through it is the Spree. The capital of France is
Paris, and the river that flows through it is the Seine. The capital of Austria is Vienna, and the river that flows
through it is the Danube. """


def prompt_of(model: Model, n_tokens: int) -> Prompt:
    """Return a text of `n_tokens` tokens, or where that is not possible as many token ids."""
    if model.tokenizer is None:
        return [5 + index % 50 for index in range(n_tokens)]
    ids = model.encode(TEXT.replace("\n", " ") * (1 + n_tokens // 40))[:n_tokens]
    text = model.decode(ids)
    return text if model.encode(text) == ids else ids
