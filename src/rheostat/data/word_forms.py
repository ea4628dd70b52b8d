"""Forms of frequent English verbs and nouns, from the wheel `pyinflect` (MIT). Fetched, never shipped.

The forms are those of the NIH SPECIALIST lexicon and of AGID as the package joins them; words that are rare on the web
are left out, because the list holds many that nobody says.
"""

import csv
import io
from collections.abc import Mapping
from typing import Literal, get_args

from rheostat.base.errors import DamagedFile
from rheostat.data.stop_words import STOP_WORDS
from rheostat.data.web_ngrams import load_word_ranks
from rheostat.data.wheels import Wheel, fetch_wheel, read_member

WHEEL = Wheel(
    name="pyinflect",
    version="0.5.1",
    sha256="94f052d48939bd4748942d807b2b87f15dcb94acb32b99d7162dba5d37188ea8",
    filename="pyinflect-0.5.1-py3-none-any.whl",
    size=703_479,
)
MEMBER = "pyinflect/infl.csv"
COMMONEST = 6000
"""Both forms of a pair are among so many words of the web, by frequency."""
SHORTEST = 3
"""Letters."""
LEFT_OUT = frozenset({"fuck", "suck", "ass", "bitch", "babe", "blowjob", "latina", "lesbian", "teen", "casino"})
"""Never shown to a reader."""
NO_NOUNS = frozenset(
    {
        "non", "min", "corp", "jean", "odd", "common", "custom", "good", "personal", "special", "economic",
        "electronic", "genetic", "athletic", "classified", "million", "hundred", "thousand", "thought", "folk",
        "medium", "graphic", "favourite", "organisation", "dynamic", "outdoor", "saving", "security",
    }
)  # fmt: skip
"""Not a noun, or not the singular of what the list calls its plural, or a second spelling of a word."""

Form = Literal["past tense", "gerund", "third person", "plural"]
FORMS: tuple[Form, ...] = get_args(Form)
VERB, NOUN = "V", "N"
N_VERB_FORMS = 4
"""Past tense, participle, gerund, third person."""


def load_word_forms(commonest: int = COMMONEST) -> dict[Form, tuple[tuple[str, str], ...]]:
    """Return form → pairs (base, inflected), the commonest base first.

    Args:
        commonest: all words are among so many of the web.
    """
    ranks = {word: rank for word, rank in load_word_ranks().items() if rank < commonest}
    return parse_word_forms(read_member(fetch_wheel(WHEEL), MEMBER), ranks)


def parse_word_forms(content: bytes, ranks: Mapping[str, int]) -> dict[Form, tuple[tuple[str, str], ...]]:
    """Read lines `base,part of speech,form,…` and keep words with a rank.

    The list calls most nouns verbs and the other way round (`ticket`, `ticketed`). So a verb counts only if its past
    tense and its gerund are common too, and a noun only if the list knows no verb of that spelling.

    Raises:
        DamagedFile: it is no such list.
    """
    rows = list(csv.reader(io.StringIO(content.decode("utf-8"))))
    if not rows or any(len(row) < 3 for row in rows):
        raise DamagedFile(f"{MEMBER} of {WHEEL.filename} is no list of word forms.")
    known = [row for row in rows if len(row[0]) >= SHORTEST and row[0] in ranks and row[0] not in LEFT_OUT]
    found: dict[Form, list[tuple[str, str]]] = {form: [] for form in FORMS}
    verbs = {row[0] for row in rows if row[1] == VERB}
    for base, part, *forms in known:
        if part == VERB and len(forms) == N_VERB_FORMS:
            past, _, gerund, third = (form.split("/")[0] for form in forms)
            if {past, gerund} <= ranks.keys() and base != past:
                found["past tense"].append((base, past))
                found["gerund"].append((base, gerund))
                found["third person"] += [(base, third)] if third in ranks else []
        elif part == NOUN and base not in verbs and base not in STOP_WORDS | NO_NOUNS:
            plural = forms[0].split("/")[0]
            found["plural"] += [(base, plural)] if plural in ranks and plural != base else []
    return {form: tuple(sorted(set(pairs), key=lambda pair: ranks[pair[0]])) for form, pairs in found.items()}
