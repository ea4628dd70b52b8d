"""How a verdict is shown: a sign and words that carry it without colour."""

from dataclasses import dataclass

from rheostat.studies.record import VerdictName


@dataclass(frozen=True)
class Badge:
    """One verdict's appearance."""

    sign: str
    label: str
    style: str
    """A name for style sheets, and the colour in the terminal."""


BADGES: dict[VerdictName, Badge] = {
    "reproduced": Badge("✓", "reproduced", "green"),
    "partly": Badge("◐", "partly reproduced", "yellow"),
    "not": Badge("○", "not reproduced", "magenta"),
    "contradicted": Badge("✗", "contradicted", "red"),
    "not testable here": Badge("–", "not testable here", "cyan"),
    "not run": Badge("·", "not run", "white"),
}
