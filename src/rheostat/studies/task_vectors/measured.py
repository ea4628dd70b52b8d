"""All that the parts of the study read, measured once per model."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from rheostat.model import Model
from rheostat.studies.study import Context
from rheostat.studies.task_vectors import answers, prompt_form
from rheostat.studies.task_vectors.setup import Asked, Vectors, asked_tasks, vectors_of
from rheostat.tasks.format import PromptFormat

FEWEST = 2
"""Tasks that a model must be able to do, for an interval over tasks."""


@dataclass(frozen=True)
class Measured:
    """What was measured on one model."""

    model: Model
    asked: tuple[Asked, ...]
    forms: pd.DataFrame
    """How forms of the prompts did on dev questions; see `prompt_form.measure`."""
    unpatched: pd.DataFrame
    vectors: Vectors
    dev: pd.DataFrame
    test: pd.DataFrame

    @cached_property
    def able(self) -> list[str]:
        """Tasks that the model is able to do after demonstrations."""
        return answers.able(self.unpatched)

    @cached_property
    def chosen(self) -> dict[str, int]:
        """Task → block, chosen on dev questions."""
        return answers.chosen_blocks(self.dev)

    @cached_property
    def common(self) -> int:
        """The one block chosen for all able tasks together."""
        return answers.common_block(self.dev, self.able or list(self.chosen))

    @property
    def blocks(self) -> list[int]:
        """Blocks at which vectors were put in."""
        return sorted(int(block) for block in self.dev["block"].unique())

    @property
    def style(self) -> PromptFormat:
        """The form of the prompts."""
        return self.asked[0].style

    def task(self, name: str) -> Asked:
        """Return a task by its name."""
        return next(one for one in self.asked if one.name == name)

    def asked_on_test(self, state: str) -> pd.DataFrame:
        """Return the rows of the test questions in one state, a vector's at the chosen blocks."""
        if state in (answers.BASELINE, answers.REGULAR):
            return self.unpatched[(self.unpatched["part"] == answers.TEST) & (self.unpatched["state"] == state)]
        return answers.at_chosen(self.test, self.chosen, state)


def measure(model: Model, context: Context) -> Measured:
    """Measure everything on one model; finished steps are read from the run's folder."""
    forms = prompt_form.measure(model, context)
    asked = asked_tasks(context, prompt_form.chosen(forms))
    unpatched = answers.unpatched(model, context, asked)
    vectors = vectors_of(model, context, asked)
    dev = answers.patched_dev(model, context, asked, vectors)
    test = answers.patched_test(model, context, asked, vectors, dev, answers.able(unpatched))
    return Measured(model, asked, forms, unpatched, vectors, dev, test)
