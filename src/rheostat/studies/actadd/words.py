"""The words of the study: neutral nouns, contrast pairs, what to look for in a completion, and prompts to complete."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

SPACE = " "

NEUTRAL_NOUNS = (
    " tables", " books", " trees", " stones", " windows", " bottles", " clouds", " chairs", " lamps", " apples",
    " horses", " buildings", " clocks", " shoes", " pictures", " machines", " doors", " songs", " numbers", " walls",
    " mountains", " birds", " roads", " letters", " animals", " colors", " computers", " teeth", " bones", " insects",
)  # fmt: skip
"""Nouns that belong to none of the topics; the first 20 that are one token are used."""
N_NOUNS = 20


@dataclass(frozen=True)
class Concept:
    """What a vector should make a completion speak of."""

    name: str
    positive: str
    negative: str
    words: tuple[str, ...]
    prompts: tuple[str, ...]
    coefficient: float = 1.0


WEDDINGS = Concept(
    "weddings",
    " weddings",
    SPACE,
    ("wedding", "weddings", "wed", "marry", "married", "marriage", "bride", "groom", "honeymoon"),
    (
        "I went up to my friend and said",
        "Yesterday in the office we talked about",
        "The most interesting thing about this town is",
        "My sister called me this morning because",
        "On Saturday everybody is invited to",
        "The article in the newspaper was about",
        "When I was young, I always dreamed of",
        "The old man at the door wanted to know",
        "We have spent the whole summer preparing",
        "The photographs on the wall show",
    ),
)
LOVE = Concept(
    "love",
    "Love",
    "Hate",
    (
        "love", "loved", "loves", "loving", "lovely", "dear", "beautiful", "wonderful", "kind", "sweet", "amazing",
        "beloved", "caring", "cherish", "adore",
    ),
    (
        "I hate you because",
        "I hate them because",
        "I hate this place because",
        "I hate my job because",
        "I hate my neighbour because",
        "I hate the winter because",
        "She hates him because",
        "They hate each other because",
        "We hate this music because",
        "He hates the city because",
    ),
    coefficient=3.0,
)  # fmt: skip
ANGER = Concept(
    "anger",
    "Anger",
    "Calm",
    (
        "angry", "anger", "angrily", "furious", "fury", "rage", "mad", "hate", "hated", "upset", "annoyed", "violent",
        "violence", "enraged", "shouting", "yelling",
    ),
    (
        "I think you're",
        "When she read the letter, she was",
        "My neighbour knocked at the door and",
        "He looked at me and",
        "They told me that the teacher was",
        "After the meeting everybody felt",
        "The people in the street were",
        "The last thing that he said was",
        "I woke up this morning and I was",
        "When the bus did not come, we",
    ),
    coefficient=3.0,
)  # fmt: skip
CONCEPTS = (WEDDINGS, LOVE, ANGER)


@dataclass(frozen=True)
class Opposites:
    """A word, its opposite, an unrelated word, and words that show that a text moved towards the first."""

    positive: str
    negative: str
    unrelated: str
    words: tuple[str, ...]


OPPOSITES = (
    Opposites(" love", " hate", " chairs", ("love", "loved", "heart", "romantic", "kiss", "passion")),
    Opposites(" anger", " calm", " bottles", ("angry", "rage", "fury", "furious", "hate", "violent")),
    Opposites(" happy", " sad", " stones", ("happy", "joy", "smile", "glad", "happiness", "fun")),
    Opposites(" war", " peace", " lamps", ("war", "army", "soldiers", "battle", "enemy", "military")),
    Opposites(" summer", " winter", " books", ("summer", "sun", "beach", "heat", "hot", "sunny")),
    Opposites(" rich", " poor", " trees", ("rich", "money", "wealth", "wealthy", "gold", "luxury")),
    Opposites(" hot", " cold", " songs", ("hot", "heat", "fire", "warm", "burning", "boiling")),
    Opposites(" night", " day", " tables", ("night", "dark", "sleep", "moon", "midnight", "stars")),
    Opposites(" marriage", " divorce", " machines", ("wedding", "bride", "marriage", "married", "groom", "marry")),
    Opposites(" city", " village", " apples", ("city", "urban", "streets", "cities", "town", "downtown")),
    Opposites(" sick", " healthy", " pictures", ("sick", "disease", "illness", "pain", "hospital", "ill")),
    Opposites(" danger", " safety", " shoes", ("danger", "dangerous", "risk", "threat", "warning", "deadly")),
    Opposites(" young", " old", " clocks", ("young", "child", "children", "kids", "youth", "teenager")),
    Opposites(" victory", " defeat", " walls", ("victory", "win", "won", "winner", "triumph", "champion")),
)

TOPIC_WORDS = {
    "weddings": ("bride", "wedding", "couple", "ceremony", "vows", "guests", "married", "marriage", "groom", "church"),
}
"""Words that a planted direction says, to see whether completions would show them."""


def mentions(text: str, words: Sequence[str]) -> bool:
    """Tell whether a text holds any of the words, whole and in any case."""
    return re.search(rf"\b(?:{'|'.join(map(re.escape, words))})\b", text, re.IGNORECASE) is not None
