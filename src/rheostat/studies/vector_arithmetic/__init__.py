"""Vector arithmetic: does one MLP update at the last token turn an argument into its answer, whatever the argument?"""

from rheostat.studies.vector_arithmetic.study import STUDY

__all__ = ["STUDY"]
