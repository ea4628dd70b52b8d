"""Words of a few everyday categories, in the form they take inside a sentence. Written for rheostat."""

from rheostat.data.relations import COUNTRIES

EXTRA_COUNTRIES = (
    "America", "Argentina", "Belgium", "Britain", "Chile", "Colombia", "Ethiopia", "Indonesia", "Jordan", "Lebanon",
    "Malaysia", "Morocco", "Nepal", "Netherlands", "Nigeria", "Pakistan", "Palestine", "Peru", "Philippines", "Romania",
    "Scotland", "Singapore", "Somalia", "Switzerland", "Syria", "Taiwan", "Ukraine", "Venezuela", "Wales",
    "Afghanistan", "Libya", "Yemen", "Bangladesh", "Zimbabwe",
)  # fmt: skip
EXTRA_PEOPLES = (
    "American", "British", "Dutch", "Swiss", "Arab", "African", "Asian", "European", "Ukrainian", "Belgian", "Scottish",
    "Welsh", "Roman", "Nigerian", "Pakistani", "Filipino", "Indonesian", "Malaysian", "Romanian", "Czech",
    "Palestinian", "Syrian", "Argentine", "Colombian", "Ethiopian", "Jewish",
)  # fmt: skip

COLOURS = (
    "red", "blue", "green", "yellow", "black", "white", "brown", "pink", "purple", "orange", "grey", "gray", "violet",
    "scarlet", "crimson", "beige", "turquoise", "silver", "golden", "indigo", "maroon", "teal", "lavender", "ivory",
    "amber", "magenta", "cyan", "blond", "colorful", "reddish",
)  # fmt: skip
FIRST_NAMES = (
    "James", "John", "Robert", "Michael", "William", "David", "Richard", "Joseph", "Thomas", "Charles", "Christopher",
    "Daniel", "Matthew", "Anthony", "Mark", "Paul", "Steven", "Andrew", "Kenneth", "Kevin", "Brian", "Edward", "Ronald",
    "Jason", "Jeffrey", "Ryan", "Jacob", "Gary", "Nicholas", "Eric", "Mary", "Patricia", "Jennifer", "Linda",
    "Elizabeth", "Barbara", "Susan", "Jessica", "Sarah", "Karen", "Lisa", "Nancy", "Betty", "Margaret", "Sandra",
    "Ashley", "Emily", "Michelle", "Amanda", "Melissa", "Deborah", "Laura", "Rebecca", "Sharon", "Cynthia", "Amy",
    "Anna", "Emma", "Alice", "Peter", "Simon", "Oliver", "Henry", "George", "Frank", "Maria", "Julia", "Rachel",
)  # fmt: skip
ANIMALS = (
    "dog", "cat", "horse", "cow", "pig", "sheep", "goat", "chicken", "duck", "goose", "rabbit", "mouse", "rat", "lion",
    "tiger", "bear", "wolf", "fox", "deer", "elephant", "monkey", "ape", "whale", "dolphin", "shark", "fish", "frog",
    "snake", "turtle", "lizard", "bird", "eagle", "owl", "crow", "bee", "ant", "spider", "butterfly", "dogs", "cats",
    "horses", "cows", "pigs", "chickens", "rabbits", "mice", "rats", "lions", "bears", "wolves", "elephants", "monkeys",
    "birds", "snakes", "whales", "bees", "ants", "insects", "cattle", "animals",
)  # fmt: skip


def country_words() -> tuple[str, ...]:
    """Return names of countries and words for their peoples."""
    names = [country.name for country in COUNTRIES] + list(EXTRA_COUNTRIES)
    peoples = [country.people for country in COUNTRIES] + list(EXTRA_PEOPLES)
    return tuple(dict.fromkeys(names + peoples))


def categories() -> dict[str, tuple[str, ...]]:
    """Return category → words: countries first, then the controls."""
    return {
        "countries": country_words(),
        "colours": COLOURS,
        "first names": FIRST_NAMES,
        "animals": ANIMALS,
    }
