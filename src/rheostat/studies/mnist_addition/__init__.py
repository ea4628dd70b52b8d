"""The study of activation addition on small networks that tell digits apart."""

from rheostat.studies.mnist_addition.study import STUDY

__all__ = ["STUDY"]
