"""The study of task vectors: what demonstrations leave at the last token, and what it does in other prompts."""

from rheostat.studies.task_vectors.study import STUDY

__all__ = ["STUDY"]
