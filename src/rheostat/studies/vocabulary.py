"""Words as tokens of one model: the forms that are a single token, and controls of matched frequency."""

from collections.abc import Iterable, Sequence

from rheostat.base.errors import NotOneToken
from rheostat.models.network import Network


def single_token(model: Network, text: str) -> int | None:
    """Return the token that spells `text` exactly, or None when it takes several."""
    try:
        return model.token_id(text)
    except NotOneToken:
        return None


def word_tokens(model: Network, word: str, *, cases: bool = True) -> list[int]:
    """Return the tokens that spell a word, with and without a leading space, and with `cases` also capitalised."""
    spellings = dict.fromkeys([word, word.capitalize(), word.lower()] if cases else [word])
    found = (single_token(model, before + spelled) for spelled in spellings for before in (" ", ""))
    return list(dict.fromkeys(token for token in found if token is not None))


def group_tokens(model: Network, words: Iterable[str], *, cases: bool = True) -> list[int]:
    """Return the tokens that spell any of the words; a phrase counts by its words of more than three letters."""
    parts = (part for word in words for part in ([word] if " " not in word else _content(word)))
    return list(dict.fromkeys(token for part in parts for token in word_tokens(model, part, cases=cases)))


def _content(phrase: str) -> list[str]:
    return [part for part in phrase.split() if len(part) > 3]


def frequency_matched(model: Network, tokens: Sequence[int], *, exclude: Iterable[int]) -> list[int]:
    """Return, per token, another word of like shape whose number in the vocabulary is nearest.

    Vocabularies are numbered roughly by frequency. Like shape: with or without a leading space, capital or not, letters
    only, length within two. No token is used twice, and none of `exclude`.
    """
    taken = set(exclude) | set(tokens)
    matched = []
    for token in tokens:
        shape = _shape(model, token)
        near = (token + sign * distance for distance in range(1, model.d_vocab) for sign in (1, -1))
        for other in near:
            if 0 <= other < model.d_vocab and other not in taken and _alike(shape, _shape(model, other)):
                taken.add(other)
                matched.append(other)
                break
    return matched


def _shape(model: Network, token: int) -> tuple[bool, bool, int] | None:
    text = model.tokens.text(token)
    word = text.removeprefix(" ")
    if not (word.isascii() and word.isalpha()):
        return None
    return text.startswith(" "), word[0].isupper(), len(word)


def _alike(first: tuple[bool, bool, int] | None, second: tuple[bool, bool, int] | None) -> bool:
    if first is None or second is None:
        return False
    return first[:2] == second[:2] and abs(first[2] - second[2]) <= 2
