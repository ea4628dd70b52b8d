"""The study of causal tracing: which activations carry a fact past noise on its subject."""

from rheostat.studies.causal_tracing.study import STUDY

__all__ = ["STUDY"]
