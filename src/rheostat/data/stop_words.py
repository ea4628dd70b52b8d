"""Words of every text, which are about no subject."""

_STOP = """
    a about above after again against all also although always am among an and another any are around as at away be
    became because become been before being below between both but by came can cannot come could did do does doing done
    down during each either else enough etc even ever every few first for from further get give given go going got had
    has have having he hence her here hers herself him himself his how however i if in indeed instead into is it its
    itself just last later least less let like made make makes many may maybe me might mine more most mostly much must
    my myself near nearly neither never next no nobody none nor not nothing now of off often on once one only onto or
    other others our ours ourselves out over own per perhaps put quite rather really same see seem seemed several shall
    she should since so some something sometimes still such take than that the their theirs them themselves then there
    therefore these they this those though three through throughout thus to together too toward towards two under until
    up upon us use used using very via was we well went were what whatever when where whether which while who whole
    whom whose why will with within without would yet you your yours yourself"""
STOP_WORDS = frozenset(_STOP.split())
"""In lower case."""
