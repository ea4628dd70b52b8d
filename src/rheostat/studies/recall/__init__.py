"""The study of factual recall: attention knockout, the attributes rate, sublayer knockout and extraction."""

from rheostat.studies.recall.study import STUDY

__all__ = ["STUDY"]
