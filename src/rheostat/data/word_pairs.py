"""Pairs of words that the fetched lists have too few of. Written for rheostat."""

NEGATIONS = {
    "able": "unable", "happy": "unhappy", "fair": "unfair", "usual": "unusual", "safe": "unsafe", "kind": "unkind",
    "equal": "unequal", "even": "uneven", "lucky": "unlucky", "true": "untrue", "wise": "unwise", "stable": "unstable",
    "healthy": "unhealthy", "necessary": "unnecessary", "popular": "unpopular", "familiar": "unfamiliar",
    "finished": "unfinished", "limited": "unlimited", "expected": "unexpected", "correct": "incorrect",
    "complete": "incomplete", "visible": "invisible", "dependent": "independent", "active": "inactive",
    "accurate": "inaccurate", "patient": "impatient", "polite": "impolite", "legal": "illegal", "regular": "irregular",
    "relevant": "irrelevant",
}  # fmt: skip
"""Adjective → its negation by a prefix."""

FEMALE = {
    "actor": "actress", "waiter": "waitress", "duke": "duchess", "emperor": "empress", "hero": "heroine",
    "god": "goddess", "host": "hostess", "widower": "widow", "bull": "cow", "rooster": "hen", "monk": "nun",
    "wizard": "witch", "gentleman": "lady", "sir": "madam", "lion": "lioness", "businessman": "businesswoman",
    "boyfriend": "girlfriend", "godfather": "godmother", "lad": "lass", "himself": "herself",
    "heir": "heiress", "steward": "stewardess",
}  # fmt: skip
"""Male → female."""

ADVERBS = {
    "careful": "carefully", "clear": "clearly", "correct": "correctly", "deep": "deeply", "direct": "directly",
    "eager": "eagerly", "exact": "exactly", "fair": "fairly", "final": "finally", "firm": "firmly", "gentle": "gently",
    "honest": "honestly", "kind": "kindly", "loud": "loudly", "nice": "nicely", "normal": "normally",
    "perfect": "perfectly", "polite": "politely", "poor": "poorly", "proud": "proudly", "recent": "recently",
    "sad": "sadly", "simple": "simply", "soft": "softly", "strange": "strangely", "strong": "strongly",
    "tight": "tightly", "warm": "warmly", "weak": "weakly", "wise": "wisely",
}  # fmt: skip
"""Adjective → adverb."""

_DEGREES = """
dark darker darkest
dry drier driest
early earlier earliest
fair fairer fairest
happy happier happiest
kind kinder kindest
late later latest
light lighter lightest
loud louder loudest
lucky luckier luckiest
narrow narrower narrowest
near nearer nearest
nice nicer nicest
poor poorer poorest
pretty prettier prettiest
proud prouder proudest
rich richer richest
rough rougher roughest
sad sadder saddest
safe safer safest
soft softer softest
steep steeper steepest
strange stranger strangest
sweet sweeter sweetest
thick thicker thickest
thin thinner thinnest
tiny tinier tiniest
wet wetter wettest
wise wiser wisest
"""
COMPARATIVES = {line.split()[0]: line.split()[1] for line in _DEGREES.split("\n") if line}
"""Adjective → comparative."""
SUPERLATIVES = {line.split()[0]: line.split()[2] for line in _DEGREES.split("\n") if line}
"""Adjective → superlative."""
