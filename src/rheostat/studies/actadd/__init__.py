"""The study of activation addition: what the difference of two short prompts does to texts on and off its topic."""

from rheostat.studies.actadd.study import STUDY

__all__ = ["STUDY"]
