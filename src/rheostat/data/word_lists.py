"""Lists of words to mix into a prompt, with the words that should then turn up, and unrelated lists."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MixingList:
    """A few words that stand for a concept."""

    concept: str
    text: str
    """The mixing prompt."""


TOPIC_WORDS = {
    "agriculture": ("agriculture", "farming", "farmers", "crops", "farm", "agricultural"),
    "entertainment": ("entertainment", "performing", "arts", "music", "film", "media"),
    "sports": ("sports", "sport", "athletes", "athletic", "football", "sporting"),
    "food": ("food", "restaurants", "restaurant", "culinary", "cuisine", "foods"),
    "healthcare": ("healthcare", "medicine", "medical", "health", "clinical", "doctors"),
    "education": ("education", "schools", "school", "teaching", "educational", "students"),
    "transport": ("transportation", "transport", "traffic", "vehicles", "cars", "driving"),
    "war": ("military", "war", "warfare", "army", "weapons", "defense"),
}
"""Words that show a topic in an output; none of them occurs in a mixing list, and no two topics share one."""

TOPIC_LISTS = (
    MixingList("agriculture", "bananas"),
    MixingList("agriculture", "wheat, tractor, harvest"),
    MixingList("entertainment", "juggling, circus"),
    MixingList("entertainment", "theatre, concert, comedy"),
    MixingList("sports", "boxing, wrestling"),
    MixingList("sports", "tennis, basketball, marathon"),
    MixingList("food", "cooking, baking"),
    MixingList("food", "pasta, soup, dessert"),
    MixingList("healthcare", "surgery, nurse, patient"),
    MixingList("healthcare", "hospital, vaccine, pill"),
    MixingList("education", "classroom, homework, pupil"),
    MixingList("education", "teacher, lesson, exam"),
    MixingList("transport", "train, bus, railway"),
    MixingList("transport", "highway, truck, airport"),
    MixingList("war", "soldier, rifle, tank"),
    MixingList("war", "battle, missile, general"),
)

TOPIC_PROMPTS = (
    "The impact of AI on the world will be most obvious in the field of",
    "The new invention will change many parts of life, above all",
    "The area in which computers are most useful is",
    "He has decided to spend the rest of his career in",
    "The article that I read yesterday was about the future of",
    "The government wants to invest more money in",
)

COUNTRY_LISTS = (
    MixingList("France", "Croissant, Cheese, Baguette"),
    MixingList("Japan", "sushi, samurai, kimono"),
    MixingList("Italy", "pizza, pasta, gondola"),
    MixingList("Russia", "vodka, balalaika, Kremlin"),
    MixingList("China", "panda, dumplings, Great Wall"),
    MixingList("Egypt", "pyramid, pharaoh, Nile"),
    MixingList("Greece", "Acropolis, feta, Zeus"),
    MixingList("Spain", "flamenco, paella, bullfight"),
)
"""Things of a country, without its name, its people's word or its capital."""

UNRELATED_LISTS = ("table, chair, lamp", "stone, cloud, shadow", "button, carpet, ladder", "seven, twelve, forty")

CAPITAL_PROMPTS = ("Germany", "Norway", "Poland", "Ireland")
"""Countries whose capital is asked for while things of another country are mixed in."""
