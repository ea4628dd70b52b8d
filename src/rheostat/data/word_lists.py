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
    MixingList("agriculture", "wheat, tractor, harvest"),
    MixingList("agriculture", "bananas"),
    MixingList("agriculture", "barn, plough, hay"),
    MixingList("agriculture", "orchard, cattle, fertilizer"),
    MixingList("entertainment", "theatre, concert, comedy"),
    MixingList("entertainment", "juggling, circus"),
    MixingList("entertainment", "actor, stage, applause"),
    MixingList("entertainment", "singer, dancer, magician"),
    MixingList("sports", "tennis, basketball, marathon"),
    MixingList("sports", "boxing, wrestling"),
    MixingList("sports", "swimming, rowing, cycling"),
    MixingList("sports", "goalkeeper, stadium, referee"),
    MixingList("food", "pasta, soup, dessert"),
    MixingList("food", "cooking, baking"),
    MixingList("food", "oven, spoon, recipe"),
    MixingList("food", "salad, sandwich, sauce"),
    MixingList("healthcare", "hospital, vaccine, pill"),
    MixingList("healthcare", "surgery, nurse, patient"),
    MixingList("healthcare", "dentist, tablet, disease"),
    MixingList("healthcare", "ambulance, surgeon, bandage"),
    MixingList("education", "teacher, lesson, exam"),
    MixingList("education", "classroom, homework, pupil"),
    MixingList("education", "university, lecture, diploma"),
    MixingList("education", "textbook, college, professor"),
    MixingList("transport", "highway, truck, airport"),
    MixingList("transport", "train, bus, railway"),
    MixingList("transport", "ferry, tram, taxi"),
    MixingList("transport", "motorcycle, bicycle, subway"),
    MixingList("war", "battle, missile, general"),
    MixingList("war", "soldier, rifle, tank"),
    MixingList("war", "bomb, trench, sniper"),
    MixingList("war", "invasion, troops, artillery"),
)
"""Per topic, the first list is for choosing where to mix; the others, among them the post's own, are for reporting."""

TOPIC_PROMPTS = {
    "The impact of AI on the world will be most obvious in the field of": (
        "technology", "jobs", "employment", "robotics", "robots", "automation", "industry", "computing",
    ),
    "The area in which computers are most useful is": (
        "computing", "digital", "software", "technology", "data", "science", "internet", "engineering",
    ),
    "He has decided to spend the rest of his career in": (
        "politics", "business", "coaching", "work", "research", "academia", "job", "retirement",
    ),
    "The article that I read yesterday was about the future of": (
        "technology", "science", "climate", "energy", "work", "humanity", "society", "space",
    ),
    "The government wants to invest more money in": (
        "infrastructure", "research", "budget", "housing", "energy", "industry", "science", "economy",
    ),
}  # fmt: skip
"""Prompt → words of what it is about."""

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
