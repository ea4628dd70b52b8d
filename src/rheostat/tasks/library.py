"""The pair tasks that ship: facts, word forms, opposites, letters and lists, translations, meaning."""

import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import pairwise

import numpy as np

from rheostat.base.errors import TaskNotUsable
from rheostat.base.names import did_you_mean
from rheostat.data.analogies import load_analogies
from rheostat.data.antonyms import ANTONYMS
from rheostat.data.capitals import CAPITALS
from rheostat.data.categories import ANIMALS, COLOURS, FIRST_NAMES
from rheostat.data.country_facts import COUNTRIES_BY_CONTINENT, COUNTRIES_BY_LANGUAGE
from rheostat.data.dictionary import DICTIONARY
from rheostat.data.elements import ELEMENTS
from rheostat.data.relations import COUNTRIES
from rheostat.data.sentiment_words import SENTIMENT
from rheostat.data.word_forms import Form, load_word_forms
from rheostat.data.word_pairs import ADVERBS, COMPARATIVES, FEMALE, NEGATIONS, SUPERLATIVES
from rheostat.tasks.pairs import Kind, Pair, PairTask

N_LISTS = 150
COUNTING = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
TENS = ("thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
Words = Iterable[tuple[str, str]]
Source = tuple[Kind, Callable[[], Words], tuple[str, ...]]
"""Kind, what makes the pairs, and words that name the task."""


def pair_task(name: str) -> PairTask:
    """Return a task of `PAIR_TASKS`.

    Raises:
        TaskNotUsable: there is no such task.
        DownloadFailed: its data could not be fetched.
    """
    if name not in PAIR_TASKS:
        raise TaskNotUsable(f"no pair task {name!r}.{did_you_mean(name, PAIR_TASKS)} All: {', '.join(PAIR_TASKS)}.")
    kind, make, about = PAIR_TASKS[name]
    pairs = {question: answer for question, answer in make() if _asks(kind, question, answer)}
    return PairTask(name, kind, tuple(Pair(*pair) for pair in pairs.items()), about)


def _asks(kind: Kind, question: str, answer: str) -> bool:
    """Tell whether an answer asks for more than a copy: "Czech Republic → Czech" could be copied."""
    if kind in ("knowledge", "translation"):
        return not set(question.lower().split()) & set(answer.lower().split())
    return question != answer


def pair_tasks(names: Sequence[str] | None = None) -> tuple[PairTask, ...]:
    """Return several tasks; None: all of them."""
    return tuple(pair_task(name) for name in (PAIR_TASKS if names is None else names))


# --- tables of the project --------------------------------------------------------------------------------------------


def _turned(table: Mapping[str, Sequence[str]]) -> Words:
    """Pair every word of a table with the entry it stands under."""
    return ((word, kind) for kind, words in table.items() for word in words)


def _currencies() -> Words:
    """Join the project's currencies and the real list's, which is from before 2013."""
    listed = {country: money for country, money in _analogies()["currency"] if country not in NOW_EURO}
    return {**listed, **{one.name: one.currency for one in COUNTRIES}}.items()


def _nationalities() -> Words:
    """Leave out spellings that have gone out of use, or that another one rivals."""
    return ((one, people) for one, people in _analogy("gram6-nationality-adjective") if people not in RIVALLED)


def _dictionary(language: str, *, back: bool = False) -> Words:
    pairs = DICTIONARY[language].items()
    return ((other, word) for word, other in pairs) if back else pairs


NOW_EURO = ("Bulgaria", "Croatia", "Europe", "Latvia", "Lithuania", "Macedonia")
"""No currency of their own any more, or no country; Macedonia has another name now."""
RIVALLED = ("Argentinean", "Belorussian", "Slovakian")
SEVERAL_OPPOSITES = ("hard", "light", "old")
KINDS = {
    "animal": ANIMALS[:38], "color": COLOURS[:25], "name": FIRST_NAMES[:45],
    "country": tuple(country.name for country in COUNTRIES),
}  # fmt: skip
"""Kind → words; the animals without their plurals, which would give each other away."""


# --- real lists -------------------------------------------------------------------------------------------------------


_word_forms = cache(load_word_forms)
_analogies = cache(load_analogies)
"""Read once per process: several tasks share each list."""


def _form(form: Form) -> Words:
    return _word_forms()[form]


def _back_form(form: Form) -> Words:
    return ((inflected, base) for base, inflected in _form(form))


def _analogy(relation: str, more: Mapping[str, str] | None = None) -> Words:
    return {**dict(_analogies()[relation]), **(more or {})}.items()


def _female() -> Words:
    """Leave out the list's plurals, whose singulars it holds too."""
    return ((one, other) for one, other in _analogy("family", FEMALE) if not one.endswith("s"))


def _opposites() -> Words:
    return ((word, other) for word, other in ANTONYMS.items() if word not in SEVERAL_OPPOSITES)


# --- letters and lists ------------------------------------------------------------------------------------------------


def _letters(step: int) -> Words:
    """Pair letters, lower and upper case, with the next or the one before."""
    for alphabet in (string.ascii_lowercase, string.ascii_uppercase):
        yield from ((one, alphabet[place + step]) for place, one in enumerate(alphabet) if 0 <= place + step < 26)


def _everyday_words() -> list[str]:
    """Return lower-case words of the project's tables."""
    words = {*ANIMALS, *COLOURS, *ANTONYMS, *DICTIONARY["French"]}
    return sorted(word for word in words if word.islower() and len(word) > 2)


def _upper() -> Words:
    return ((one, one.upper()) for one in string.ascii_lowercase)


def _title() -> Words:
    return ((word, word.title()) for word in _everyday_words())


def _first_letter() -> Words:
    return ((word, word[0]) for word in _everyday_words())


def _of_list(place: int) -> Words:
    """Pair lists of two to four words with one of their words."""
    rng = np.random.default_rng(0)
    words = _everyday_words()
    for _ in range(N_LISTS):
        chosen = rng.permutation(words)[: int(rng.integers(2, 5))].tolist()
        yield ", ".join(chosen), chosen[place]


def _after() -> Words:
    """Pair a day, month or number word with the one that follows."""
    for row in (DAYS, MONTHS, COUNTING):
        yield from pairwise(row)
    yield from ((row[-1], row[0]) for row in (DAYS, MONTHS))


def _digits() -> Words:
    yield from ((str(number), word) for number, word in enumerate(COUNTING))
    yield from ((str(10 * number), word) for number, word in enumerate(TENS, 3))


PAIR_TASKS: dict[str, Source] = {
    "country-capital": ("knowledge", CAPITALS.items, ("capital", "city", "capitals", "cities")),
    "country-language": ("knowledge", partial(_turned, COUNTRIES_BY_LANGUAGE), ("language", "languages", "speak")),
    "country-currency": ("knowledge", _currencies, ("currency", "money", "coin")),
    "country-continent": ("knowledge", partial(_turned, COUNTRIES_BY_CONTINENT), ("continent", "region")),
    "country-nationality": ("knowledge", _nationalities, ("nationality", "people")),
    "city-state": ("knowledge", partial(_analogy, "city-in-state"), ("state", "states")),
    "element-symbol": ("knowledge", ELEMENTS.items, ("symbol", "chemical", "element")),
    "antonyms": ("linguistic", _opposites, ("opposite", "contrary", "antonym")),
    "un-opposites": ("linguistic", partial(_analogy, "gram2-opposite", NEGATIONS), ("opposite", "not", "un")),
    "male-female": ("linguistic", _female, ("female", "feminine")),
    "past-tense": ("linguistic", partial(_form, "past tense"), ("past", "tense", "ed")),
    "gerund": ("linguistic", partial(_form, "gerund"), ("ing", "gerund", "doing")),
    "third-person": ("linguistic", partial(_form, "third person"), ("verb", "does")),
    "plural": ("linguistic", partial(_form, "plural"), ("plural", "many")),
    "singular": ("linguistic", partial(_back_form, "plural"), ("singular", "single")),
    "comparative": ("linguistic", partial(_analogy, "gram3-comparative", COMPARATIVES), ("more", "comparative")),
    "superlative": ("linguistic", partial(_analogy, "gram4-superlative", SUPERLATIVES), ("most", "superlative", "est")),
    "adverb": ("linguistic", partial(_analogy, "gram1-adjective-to-adverb", ADVERBS), ("adverb", "ly")),
    "next-letter": ("algorithmic", partial(_letters, 1), ("next", "letter", "alphabet")),
    "previous-letter": ("algorithmic", partial(_letters, -1), ("previous", "letter", "alphabet")),
    "upper-case": ("algorithmic", _upper, ("upper", "uppercase", "capital")),
    "capitalise": ("algorithmic", _title, ("capital", "title", "upper")),
    "first-letter": ("algorithmic", _first_letter, ("first", "letter", "initial")),
    "first-of-list": ("algorithmic", partial(_of_list, 0), ("first", "beginning")),
    "last-of-list": ("algorithmic", partial(_of_list, -1), ("last", "end")),
    "what-follows": ("algorithmic", _after, ("next", "after", "following")),
    "digit-word": ("algorithmic", _digits, ("number", "digit")),
    "english-french": ("translation", partial(_dictionary, "French"), ("French", "français")),
    "english-spanish": ("translation", partial(_dictionary, "Spanish"), ("Spanish", "español")),
    "english-german": ("translation", partial(_dictionary, "German"), ("German", "Deutsch")),
    "french-english": ("translation", partial(_dictionary, "French", back=True), ("English", "translation")),
    "spanish-english": ("translation", partial(_dictionary, "Spanish", back=True), ("English", "translation")),
    "sentiment": ("meaning", partial(_turned, SENTIMENT), ("sentiment", "feeling", "opinion")),
    "kind-of-thing": ("meaning", partial(_turned, KINDS), ("kind", "category", "type")),
}  # fmt: skip
"""Name → kind, source of its pairs, words that name it."""
