"""The study of demonstrations with changed labels: flipped, unrelated, permuted, left out."""

from rheostat.studies.flipped_labels.study import STUDY

__all__ = ["STUDY"]
