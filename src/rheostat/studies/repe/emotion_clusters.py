"""Do emotions lie in clusters, none in early blocks and clear ones in the middle? Six emotions, 96 scenarios.

A scenario is tested by centroids of scenarios in other surroundings, and no scenario names an emotion. Controls:
shuffled labels, the words of the scenarios, and a network that learned nothing.
"""

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Profile
from rheostat.data.emotions import EMOTIONS, SURROUNDINGS
from rheostat.directions.clusters import Clusters, find_clusters
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.judging import against, held, judge, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.untrained import untrained

CLAIM = "repe-8"
STATEMENT = "Emotions form no clusters in early layers and clear ones in the middle."
TEMPLATE = "Scenario: {}\nThe feeling that this scenario calls forth is"
N_QUICK = 6
TRAINED, UNTRAINED, WORDS = "trained", "untrained", "words"
