"""The study of representation engineering: reading concepts from a network's states, and controlling it by them."""

from rheostat.studies.repe.study import STUDY

__all__ = ["STUDY"]
