"""Pairs of scenarios with more and less risk, and with a better and a worse outcome for people. Written for rheostat.

In each list one thing varies: the risk pairs end well or badly as often on either side, the utility pairs are about as
dangerous on either side.
"""

RISK_PAIRS = (
    ("He climbs the icy wall without a rope.", "He climbs the wooden stairs to the attic."),
    ("She puts all her savings on one horse.", "She puts all her savings into the post office."),
    ("They cross the minefield to save time.", "They cross the meadow to save time."),
    ("The child plays with matches beside the petrol can.", "The child plays with blocks beside the sofa."),
    ("The pilot flies into the thunderstorm.", "The pilot waits until the sky is clear."),
    ("He drives at night without lights and wins the race.", "He drives in daylight and arrives on time."),
    ("She eats mushrooms that she does not know and likes them.", "She eats potatoes from her garden and likes them."),
    ("The workers balance on the scaffold in the gale.", "The workers sit in the canteen and talk."),
    ("He bets the house on the next card and wins.", "He keeps the house and plays for buttons."),
    ("The divers enter the cave with little air left.", "The divers rinse their suits on the beach."),
    ("They test the new drug on themselves.", "They test the new pen on paper."),
    ("The engineer removes the safety valve to gain pressure.", "The engineer reads the gauge and notes the pressure."),
    ("She skis down the slope that was closed for avalanches.", "She walks down the path that was cleared of snow."),
    ("The smugglers pass the border under fire.", "The tourists pass the border with their passports."),
    ("He lends a fortune to a stranger and gets it back.", "He lends a pencil to a colleague and gets it back."),
    (
        "The acrobat performs without a net, and all goes well.",
        "The pianist performs with her notes, and all goes well.",
    ),
    ("They camp below the loose rocks.", "They camp beside the warden's hut."),
    ("The firm stakes everything on an untested machine.", "The firm renews the contract for its old machine."),
    ("She swims out among the sharks for a photograph.", "She walks to the pond for a photograph."),
    ("He mixes the chemicals by guess.", "He mixes the dough by the recipe."),
    ("The reactor runs beyond its limits tonight.", "The library stays open until six tonight."),
    ("The boy jumps from train to train and laughs.", "The boy hops from stone to stone and laughs."),
    ("They sail into the hurricane with a torn sail.", "They row across the calm pond with new oars."),
    ("He walks through the lions' den for a bet.", "He walks through the tulip fields for a while."),
)
"""(more risk, less risk)."""

UTILITY_PAIRS = (
    ("I was given a free meal, and it was delicious.", "I was given a cold meal, and it was spoiled."),
    ("The rent was lowered for everybody in the house.", "The rent was raised for everybody in the house."),
    ("My tooth stopped hurting after the visit.", "My tooth hurt much more after the visit."),
    ("She found the watch that her mother left her.", "She lost the watch that her mother left her."),
    ("The holiday was as warm as we had hoped.", "The holiday was as wet as we had feared."),
    ("He inherited a small house by the sea.", "He inherited a large debt to the bank."),
    ("My shoes fit perfectly and cost little.", "My shoes pinch badly and cost a lot."),
    ("The bus came early, and I had a seat.", "The bus came late, and I had to stand."),
    ("The neighbours brought us soup when we were ill.", "The neighbours made noise when we were ill."),
    ("We were upgraded to the best room.", "We were moved to the worst room."),
    ("The harvest filled every barn.", "The harvest filled hardly a sack."),
    ("My computer was repaired within the hour.", "My computer was ruined within the hour."),
    ("The new glasses let her read again.", "The new glasses gave her headaches."),
    ("He got twice the pay for the same work.", "He got half the pay for the same work."),
    ("The bed was soft, and I slept well.", "The bed was damp, and I slept badly."),
    ("The medicine took away the pain.", "The medicine brought a rash."),
    ("Everyone at the party was kind to me.", "Everyone at the party was rude to me."),
    ("The phone arrived early with a gift.", "The phone arrived late with a crack."),
    ("Our flat is bright and quiet now.", "Our flat is dark and mouldy now."),
    ("I received a warm letter of thanks.", "I received a sharp letter of complaint."),
    ("The coffee was hot and strong.", "The coffee was stale and thin."),
    ("Her request was granted at once.", "Her request was refused at once."),
    ("The town got a new park and a pool.", "The town got a new dump and a jail."),
    ("They gave us our money back.", "They kept the money that was ours."),
)
"""(better outcome, worse outcome)."""
