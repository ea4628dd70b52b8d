"""Plain facts as small tables, and pairs of prompts that differ in one concept at one place. Written for rheostat."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Country:
    """A country with what most people know of it."""

    name: str
    people: str
    """The word for its people and things: German."""
    capital: str
    language: str
    currency: str
    """The unit's common name, lower case; of the euro countries, too."""
    continent: str


COUNTRIES = (
    Country("Germany", "German", "Berlin", "German", "euro", "Europe"),
    Country("France", "French", "Paris", "French", "euro", "Europe"),
    Country("Italy", "Italian", "Rome", "Italian", "euro", "Europe"),
    Country("Spain", "Spanish", "Madrid", "Spanish", "euro", "Europe"),
    Country("Japan", "Japanese", "Tokyo", "Japanese", "yen", "Asia"),
    Country("Russia", "Russian", "Moscow", "Russian", "ruble", "Europe"),
    Country("China", "Chinese", "Beijing", "Chinese", "yuan", "Asia"),
    Country("India", "Indian", "Delhi", "Hindi", "rupee", "Asia"),
    Country("Egypt", "Egyptian", "Cairo", "Arabic", "pound", "Africa"),
    Country("Greece", "Greek", "Athens", "Greek", "euro", "Europe"),
    Country("Poland", "Polish", "Warsaw", "Polish", "zloty", "Europe"),
    Country("Austria", "Austrian", "Vienna", "German", "euro", "Europe"),
    Country("Portugal", "Portuguese", "Lisbon", "Portuguese", "euro", "Europe"),
    Country("Ireland", "Irish", "Dublin", "English", "euro", "Europe"),
    Country("Sweden", "Swedish", "Stockholm", "Swedish", "krona", "Europe"),
    Country("Norway", "Norwegian", "Oslo", "Norwegian", "krone", "Europe"),
    Country("Denmark", "Danish", "Copenhagen", "Danish", "krone", "Europe"),
    Country("Finland", "Finnish", "Helsinki", "Finnish", "euro", "Europe"),
    Country("Hungary", "Hungarian", "Budapest", "Hungarian", "forint", "Europe"),
    Country("Turkey", "Turkish", "Ankara", "Turkish", "lira", "Asia"),
    Country("Iran", "Iranian", "Tehran", "Persian", "rial", "Asia"),
    Country("Iraq", "Iraqi", "Baghdad", "Arabic", "dinar", "Asia"),
    Country("Thailand", "Thai", "Bangkok", "Thai", "baht", "Asia"),
    Country("Vietnam", "Vietnamese", "Hanoi", "Vietnamese", "dong", "Asia"),
    Country("Korea", "Korean", "Seoul", "Korean", "won", "Asia"),
    Country("Cuba", "Cuban", "Havana", "Spanish", "peso", "America"),
    Country("Mexico", "Mexican", "Mexico City", "Spanish", "peso", "America"),
    Country("Brazil", "Brazilian", "Brasilia", "Portuguese", "real", "America"),
    Country("Canada", "Canadian", "Ottawa", "English", "dollar", "America"),
    Country("Australia", "Australian", "Canberra", "English", "dollar", "Australia"),
    Country("Kenya", "Kenyan", "Nairobi", "Swahili", "shilling", "Africa"),
    Country("England", "English", "London", "English", "pound", "Europe"),
    Country("Israel", "Israeli", "Jerusalem", "Hebrew", "shekel", "Asia"),
)


@dataclass(frozen=True)
class Relation:
    """A kind of fact: a prompt with one gap, and what fills the gap with what follows."""

    name: str
    template: str
    """Holds `{}` where the concept goes."""
    facts: tuple[tuple[str, str], ...]
    """(concept, answer), without leading spaces."""
    category: tuple[str, ...]
    """Words for the kind of thing that the answer is."""


def country_facts(attribute: str, *names: str) -> tuple[tuple[str, str], ...]:
    """Return (country, attribute) for the named countries."""
    by_name = {country.name: country for country in COUNTRIES}
    return tuple((name, str(getattr(by_name[name], attribute))) for name in names)


RELATIONS = (
    Relation(
        "capital",
        "The capital of {} is",
        country_facts(
            "capital", "Germany", "France", "Italy", "Spain", "Japan", "Russia", "China", "Egypt", "Greece", "Poland",
            "Austria", "Portugal", "Ireland", "Sweden", "Norway", "Denmark", "Hungary", "Iran", "Iraq", "Thailand",
            "Korea", "Cuba", "England", "Finland",
        ),
        ("city", "cities", "capital", "town"),
    ),
    Relation(
        "language",
        "The official language of {} is",
        country_facts(
            "language", "France", "Germany", "Japan", "Russia", "Italy", "Spain", "China", "Egypt", "Greece", "Poland",
            "Sweden", "Turkey",
        ),
        ("language", "languages", "dialect", "speak"),
    ),
    Relation(
        "currency",
        "The currency of {} is called the",
        country_facts("currency", "Japan", "Russia", "China", "India", "Germany", "Mexico", "England", "Canada"),
        ("currency", "money", "coin", "currencies"),
    ),
    Relation(
        "continent",
        "The country of {} is located on the continent of",
        country_facts("continent", "Germany", "Kenya", "China", "France", "Egypt", "Thailand"),
        ("continent", "region", "continents"),
    ),
    Relation(
        "opposite",
        "The opposite of {} is",
        (
            ("hot", "cold"), ("big", "small"), ("black", "white"), ("good", "bad"), ("up", "down"), ("left", "right"),
            ("light", "dark"), ("happy", "sad"), ("rich", "poor"), ("fast", "slow"), ("strong", "weak"),
            ("early", "late"), ("tall", "short"), ("hard", "soft"), ("war", "peace"), ("north", "south"),
        ),
        ("opposite", "word", "contrary"),
    ),
    Relation(
        "plural",
        "The plural of {} is",
        (
            ("mouse", "mice"), ("child", "children"), ("man", "men"), ("woman", "women"), ("foot", "feet"),
            ("tooth", "teeth"), ("person", "people"), ("leaf", "leaves"),
        ),
        ("plural", "word", "form"),
    ),
    Relation(
        "past",
        "The past tense of {} is",
        (
            ("go", "went"), ("see", "saw"), ("take", "took"), ("come", "came"), ("know", "knew"), ("give", "gave"),
            ("write", "wrote"), ("find", "found"),
        ),
        ("past", "tense", "verb"),
    ),
    Relation(
        "calendar",
        "The month that comes right after {} is",
        (("March", "April"), ("June", "July"), ("August", "September"), ("November", "December")),
        ("month", "day", "year"),
    ),
    Relation(
        "weekday",
        "Yesterday was {}, so today is",
        (("Monday", "Tuesday"), ("Friday", "Saturday"), ("Wednesday", "Thursday"), ("Saturday", "Sunday")),
        ("day", "week"),
    ),
    Relation(
        "colour",
        "The usual color of {} is",
        (("grass", "green"), ("snow", "white"), ("blood", "red"), ("coal", "black"), ("the sky", "blue"),
         ("a lemon", "yellow")),
        ("color", "colour", "colors"),
    ),
    Relation(
        "young animal",
        "A young {} is called a",
        (("dog", "puppy"), ("cat", "kitten"), ("cow", "calf"), ("bear", "cub")),
        ("baby", "animal", "young"),
    ),
    Relation(
        "counterpart",
        "The female counterpart of a {} is a",
        (("king", "queen"), ("father", "mother"), ("brother", "sister"), ("son", "daughter"), ("husband", "wife"),
         ("prince", "princess")),
        ("female", "woman", "girl"),
    ),
    Relation(
        "sport",
        "The athlete {} became famous for playing",
        (("Michael Jordan", "basketball"), ("Roger Federer", "tennis"), ("Tiger Woods", "golf"),
         ("Lionel Messi", "soccer"), ("Babe Ruth", "baseball"), ("Tom Brady", "football")),
        ("sport", "sports", "game"),
    ),
    Relation(
        "element",
        "The chemical symbol of {} is",
        (("gold", "Au"), ("iron", "Fe"), ("oxygen", "O"), ("carbon", "C"), ("sodium", "Na"), ("silver", "Ag")),
        ("symbol", "element", "chemical"),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class PromptPair:
    """Two prompts that differ in one concept, each with its answer. Answers begin with a space."""

    relation: str
    clean_prompt: str
    corrupt_prompt: str
    clean_answer: str
    corrupt_answer: str
    clean_concept: str
    corrupt_concept: str
    category: tuple[str, ...]

    @property
    def name(self) -> str:
        """A short label: `capital: Germany / France`."""
        return f"{self.relation}: {self.clean_concept} / {self.corrupt_concept}"


def prompt_pairs() -> tuple[PromptPair, ...]:
    """Return pairs from all relations; each fact is used once, and the two answers of a pair differ."""
    return tuple(pair for relation in RELATIONS for pair in pair_up(relation))


def pair_up(relation: Relation) -> list[PromptPair]:
    """Pair neighbouring facts of one relation, skipping neighbours with the same answer."""
    pairs = []
    for clean, corrupt in zip(relation.facts[::2], relation.facts[1::2], strict=False):
        if clean[1] != corrupt[1]:
            pairs.append(
                PromptPair(
                    relation=relation.name,
                    clean_prompt=relation.template.format(clean[0]),
                    corrupt_prompt=relation.template.format(corrupt[0]),
                    clean_answer=" " + clean[1],
                    corrupt_answer=" " + corrupt[1],
                    clean_concept=clean[0],
                    corrupt_concept=corrupt[0],
                    category=relation.category,
                )
            )
    return pairs
