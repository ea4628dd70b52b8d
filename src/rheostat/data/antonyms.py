"""Words and their opposites, one meaning each. Written for rheostat."""

ANTONYMS = {
    "hot": "cold", "big": "small", "good": "bad", "up": "down", "left": "right", "light": "dark", "happy": "sad",
    "rich": "poor", "fast": "slow", "strong": "weak", "early": "late", "tall": "short", "hard": "soft", "war": "peace",
    "north": "south", "east": "west", "open": "closed", "full": "empty", "wet": "dry", "old": "new", "young": "old",
    "love": "hate", "day": "night", "summer": "winter", "inside": "outside", "top": "bottom", "win": "lose",
    "buy": "sell", "push": "pull", "begin": "end", "alive": "dead", "clean": "dirty", "heavy": "light",
    "high": "low", "loud": "quiet", "near": "far", "rough": "smooth", "thick": "thin", "true": "false",
    "wide": "narrow", "wild": "tame", "sharp": "dull", "sweet": "bitter", "deep": "shallow", "safe": "dangerous",
    "simple": "complex", "cheap": "expensive", "easy": "difficult", "success": "failure", "friend": "enemy",
    "victory": "defeat", "black": "white", "before": "after", "above": "below", "more": "less", "always": "never",
    "question": "answer", "male": "female", "ancient": "modern", "public": "private", "positive": "negative",
    "arrive": "depart", "increase": "decrease", "remember": "forget", "accept": "reject", "attack": "defend",
    "minimum": "maximum", "internal": "external", "guilty": "innocent", "optimist": "pessimist", "front": "back",
    "first": "last", "birth": "death", "import": "export", "major": "minor", "brave": "cowardly",
}  # fmt: skip
"""Word → opposite."""
