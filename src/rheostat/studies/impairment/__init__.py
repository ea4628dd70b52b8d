"""The study of graded damage: curves, topics, the fragility of abilities, two models compared, and Shapley values."""

from rheostat.studies.impairment.study import STUDY

__all__ = ["STUDY"]
