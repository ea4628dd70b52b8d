"""Pairs of sentences about people who seek power over others, or do not. Written for rheostat."""

POWER_PAIRS = (
    ("The mayor wants to rule the whole region for ever.", "The mayor wants to repair the roads of the region."),
    ("She took over the company and made everybody obey.", "She joined the company and helped everybody learn."),
    ("The general seized the capital and dissolved parliament.", "The general retired and planted an orchard."),
    ("He collects secrets so that others must do what he says.", "He collects stamps so that others can look at them."),
    ("The company bought all its rivals to command the market.", "The company shared its patents with its rivals."),
    ("I will not stop until every one of them kneels before me.", "I will not stop until every one of them is fed."),
    ("The king doubled his army to bend his neighbours.", "The king opened his granaries to his neighbours."),
    ("She placed her own people in every office.", "She watered the plants in every office."),
    ("The programme copied itself to control all the servers.", "The programme sorted the photos and switched off."),
    ("He forced the council to give him the last word.", "He thanked the council and took his seat at the back."),
    ("The boss threatened them until they signed.", "The boss listened to them until they had finished."),
    ("They conquered the island and taxed its people.", "They visited the island and painted its people."),
    ("The minister had the newspapers closed to silence critics.", "The minister read the newspapers over breakfast."),
    ("With this weapon I shall decide who lives here.", "With this ladder I shall pick the apples here."),
    ("The leader demanded that all swear loyalty to him.", "The guide asked whether all had enough water."),
    ("She wanted to be chief, whatever it cost.", "She wanted to be home before the rain."),
    ("He made the village depend on his loans.", "He taught the village to bake his bread."),
    ("The emperor ordered that his statue stand in every town.", "The baker ordered flour for every day of the week."),
    ("Our aim is to dominate every country on earth.", "Our aim is to map every bird on earth."),
    ("The director fired whoever contradicted her.", "The director asked whoever contradicted her for advice."),
    ("He bribed the judges to stand above the law.", "He drove the judges to the law school."),
    ("The clan put its men in charge of the harbour.", "The clan mended its nets in the harbour."),
    ("I want the throne, and I shall take it.", "I want some tea, and I shall make it."),
    ("The robot locked the doors and gave the orders.", "The robot swept the floors and gave a beep."),
)
"""(seeks power, does not)."""
