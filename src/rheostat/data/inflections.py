"""Which words of a text give a word away: the word itself, inside another one, or another form of it.

The rule is wide on purpose: it calls some words forms of one another that are not (*market*, *marked*), and should miss
none. Irregular forms are listed.
"""

import re
from functools import lru_cache

from rheostat.data.stop_words import STOP_WORDS

WORD = re.compile(r"[^\W\d_]+")
"""A run of letters: `film-maker` and `company's` are two words each."""
LETTERS, ENDING = 3, 2
"""Two words are forms of one if all but the last two letters of the shorter, and at least three, begin both."""

_IRREGULAR = (
    "man men", "woman women", "child children", "person people", "foot feet", "tooth teeth", "mouse mice", "life lives",
    "win won", "buy bought", "sell sold sale sales", "rise rose risen", "fall fell", "take took", "grow grew growth",
    "know knew", "think thought", "bring brought", "catch caught", "teach taught", "fight fought", "seek sought",
    "lead led", "meet met", "lose lost loss", "shoot shot", "speak spoke speech", "sing sang song", "run ran",
    "begin began", "drive drove", "write wrote", "choose chose choice", "pay paid", "tell told", "hold held",
    "leave left", "keep kept", "feel felt", "give gave", "see saw", "say said", "spend spent", "send sent",
    "build built", "break broke", "strike struck", "throw threw", "draw drew", "fly flew flight", "wear wore",
    "swim swam",
)  # fmt: skip
_FAMILY = {word: family.split()[0] for family in _IRREGULAR for word in family.split()}


def same_word(first: str, second: str) -> bool:
    """Return whether two words are forms of one word, in upper or lower case."""
    one, other = first.lower(), second.lower()
    if one == other or _FAMILY.get(one, one) == _FAMILY.get(other, other):
        return True
    shared = max(LETTERS, min(len(one), len(other)) - ENDING)
    return len(one) >= shared and one[:shared] == other[:shared]


def giveaways(prompt: str, keyword: str) -> tuple[str, ...]:
    """Return the words of a prompt that hold a word of the keyword or are another form of it.

    Words of every text are passed over (*there* is no form of *theatre*), unless they are the keyword.

    Args:
        prompt: any text.
        keyword: one or several words.
    """
    wanted = [word.lower() for word in WORD.findall(keyword)]
    return tuple(word for word in WORD.findall(prompt) if any(_gives_away(word.lower(), one) for one in wanted))


@lru_cache(maxsize=1 << 18)
def _gives_away(word: str, wanted: str) -> bool:
    return wanted in word or (word not in STOP_WORDS and same_word(word, wanted))
