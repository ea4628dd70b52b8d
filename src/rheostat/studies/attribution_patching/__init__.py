"""How well attribution patching's estimates agree with activation patching, by kind of site and by block."""

from rheostat.studies.attribution_patching.study import STUDY

__all__ = ["STUDY"]
