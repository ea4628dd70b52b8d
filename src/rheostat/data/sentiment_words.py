"""Adjectives and nouns that praise or blame. Written for rheostat."""

SENTIMENT = {
    "positive": (
        "good", "great", "excellent", "wonderful", "brilliant", "delightful", "superb", "amazing", "fantastic",
        "beautiful", "charming", "lovely", "perfect", "pleasant", "happy", "joy", "love", "success", "kind", "honest",
        "brave", "clever", "funny", "exciting", "fresh", "elegant", "generous", "impressive", "inspiring", "splendid",
        "terrific", "marvelous", "outstanding", "remarkable", "friendly", "enjoyable", "magnificent", "triumph",
        "hope", "peaceful",
    ),
    "negative": (
        "bad", "terrible", "awful", "horrible", "boring", "dreadful", "ugly", "poor", "disappointing", "painful", "sad",
        "hate", "failure", "cruel", "dishonest", "stupid", "dull", "disgusting", "miserable", "pathetic", "annoying",
        "nasty", "weak", "worthless", "tragic", "evil", "angry", "rude", "dirty", "mediocre", "tedious", "lousy",
        "clumsy", "hopeless", "dangerous", "disaster", "fear", "broken", "unpleasant", "ridiculous",
    ),
}  # fmt: skip
"""Kind → words."""
