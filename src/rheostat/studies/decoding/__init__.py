"""The study of the decoding post: what the logit lens reads at four points of a block, and what editing there does."""

from rheostat.studies.decoding.study import STUDY

__all__ = ["STUDY"]
