"""A served impairment: what an evaluator finds by stepping down, what stays held back from users, and what it costs."""

from rheostat.studies.held_back.study import STUDY

__all__ = ["STUDY"]
