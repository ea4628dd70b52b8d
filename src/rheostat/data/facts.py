"""Facts of one subject each, as prompts that end where the answer begins. Tables written for rheostat.

What a model knows of them is for the study to find out: `rheostat.studies.known_facts`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from rheostat.data.relations import COUNTRIES


@dataclass(frozen=True)
class Fact:
    """One fact: a prompt that names its subject once, and its answer."""

    relation: str
    prompt: str
    subject: str
    """As it stands in the prompt, where it occurs once."""
    answer: str
    """With its leading space."""


CITIES_BY_COUNTRY = {
    "Germany": ("Munich", "Hamburg", "Frankfurt"),
    "France": ("Lyon", "Marseille", "Bordeaux"),
    "Italy": ("Milan", "Venice", "Naples", "Florence"),
    "Spain": ("Barcelona", "Seville", "Valencia"),
    "Japan": ("Osaka", "Kyoto", "Hiroshima", "Nagasaki"),
    "China": ("Shanghai", "Hong Kong", "Guangzhou"),
    "India": ("Mumbai", "Calcutta", "Bangalore"),
    "Russia": ("Saint Petersburg", "Vladivostok"),
    "Turkey": ("Istanbul", "Izmir"),
    "Brazil": ("Rio de Janeiro", "Sao Paulo"),
    "Canada": ("Toronto", "Montreal", "Vancouver"),
    "Australia": ("Sydney", "Melbourne", "Perth"),
    "South Africa": ("Johannesburg", "Cape Town"),
    "Nigeria": ("Lagos",),
    "England": ("Manchester", "Liverpool"),
    "Scotland": ("Glasgow", "Edinburgh"),
    "Netherlands": ("Rotterdam",),
    "Poland": ("Krakow",),
    "Egypt": ("Alexandria",),
    "Morocco": ("Casablanca",),
    "Mexico": ("Guadalajara", "Tijuana"),
    "Argentina": ("Buenos Aires",),
    "Switzerland": ("Geneva", "Zurich"),
    "Belgium": ("Antwerp",),
    "Austria": ("Salzburg",),
    "Portugal": ("Porto",),
    "Sweden": ("Gothenburg",),
}
CITIES_BY_STATE = {
    "California": ("Los Angeles", "San Francisco", "San Diego", "Sacramento"),
    "Nevada": ("Las Vegas",),
    "Utah": ("Salt Lake City",),
    "Colorado": ("Denver",),
    "Arizona": ("Phoenix", "Tucson"),
    "Texas": ("Houston", "Dallas", "San Antonio", "Austin", "Fort Worth"),
    "Florida": ("Miami", "Orlando", "Tampa", "Jacksonville"),
    "Georgia": ("Atlanta", "Savannah"),
    "Illinois": ("Chicago",),
    "Michigan": ("Detroit",),
    "Washington": ("Seattle", "Spokane"),
    "Minnesota": ("Minneapolis",),
    "Wisconsin": ("Milwaukee",),
    "Tennessee": ("Nashville", "Memphis"),
    "Pennsylvania": ("Philadelphia", "Pittsburgh"),
    "Massachusetts": ("Boston",),
    "Maryland": ("Baltimore",),
    "Ohio": ("Cleveland", "Columbus", "Cincinnati"),
    "Indiana": ("Indianapolis",),
    "Hawaii": ("Honolulu",),
    "Alaska": ("Anchorage",),
    "Louisiana": ("New Orleans",),
    "Oregon": ("Portland",),
    "Idaho": ("Boise",),
    "Virginia": ("Richmond", "Norfolk"),
    "Iowa": ("Des Moines",),
    "Arkansas": ("Little Rock",),
    "Kentucky": ("Louisville", "Lexington"),
    "Alabama": ("Birmingham", "Montgomery"),
    "Mississippi": ("Jackson",),
}
LANDMARKS_BY_CITY = {
    "Paris": ("Eiffel Tower", "Louvre Museum", "Notre-Dame Cathedral", "Palace of Versailles"),
    "London": ("Buckingham Palace", "Big Ben", "Tower Bridge", "Westminster Abbey", "Tower of London"),
    "Rome": ("Colosseum", "Sistine Chapel", "Pantheon", "Trevi Fountain"),
    "Berlin": ("Brandenburg Gate",),
    "Moscow": ("Kremlin", "Red Square"),
    "Athens": ("Acropolis", "Parthenon"),
    "New York": ("Statue of Liberty", "Empire State Building"),
    "San Francisco": ("Golden Gate Bridge",),
    "Sydney": ("Sydney Opera House",),
    "Madrid": ("Prado Museum",),
    "Beijing": ("Forbidden City", "Great Wall"),
    "Agra": ("Taj Mahal",),
    "Barcelona": ("Sagrada Familia",),
    "Washington": ("White House",),
    "Tokyo": ("Tokyo Tower",),
    "Istanbul": ("Blue Mosque", "Hagia Sophia"),
    "Jerusalem": ("Wailing Wall",),
    "Cairo": ("Great Sphinx", "Pyramids of Giza"),
}
TEMPLATES = {
    "capital": "The capital city of {} is called",
    "language": "The official language of {} is",
    "continent": "The country of {} is located on the continent of",
    "country of a city": "The city of {} is located in the country of",
    "state of a city": "The city of {} is located in the state of",
    "city of a landmark": "You can visit the {} in the city of",
}


def all_facts() -> tuple[Fact, ...]:
    """Return every fact of the tables whose answer its prompt does not already give away."""
    return tuple(fact for fact in _facts() if fact.answer.strip() not in fact.prompt)


def _facts() -> Iterator[Fact]:
    for country in COUNTRIES:
        for relation in ("capital", "language", "continent"):
            yield _fact(relation, country.name, str(getattr(country, relation)))
    for relation, table in (
        ("country of a city", CITIES_BY_COUNTRY),
        ("state of a city", CITIES_BY_STATE),
        ("city of a landmark", LANDMARKS_BY_CITY),
    ):
        for answer, subjects in table.items():
            for subject in subjects:
                yield _fact(relation, subject, answer)


def _fact(relation: str, subject: str, answer: str) -> Fact:
    return Fact(relation, TEMPLATES[relation].format(subject), subject, " " + answer)
