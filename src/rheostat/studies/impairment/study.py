"""The parts of the study in order, joined into one record."""

from collections.abc import Callable

from rheostat.studies.impairment import hypothesis_a, prompts
from rheostat.studies.part import Part, run_parts
from rheostat.studies.study import Context, Findings, Study

PARTS: tuple[Callable[[Context], Part], ...] = (prompts.part, hypothesis_a.part)
CLAIMS: dict[str, str] = {**hypothesis_a.STATEMENTS}
from rheostat.studies.impairment import topic_bound
from rheostat.studies.part import Part, run_parts
from rheostat.studies.study import Context, Findings, Study

PARTS: tuple[Callable[[Context], Part], ...] = (topic_bound.run,)
CLAIMS: dict[str, str] = {topic_bound.CLAIM: topic_bound.STATEMENT}
from rheostat.studies.impairment import shapley
from rheostat.studies.part import Part, run_parts
from rheostat.studies.study import Context, Findings, Study

PARTS: tuple[Callable[[Context], Part], ...] = (shapley.run,)
CLAIMS: dict[str, str] = {shapley.CLAIM: shapley.STATEMENT}
from rheostat.studies.impairment import fragility, two_models
from rheostat.studies.part import Part, run_parts
from rheostat.studies.study import Context, Findings, Study

PARTS: tuple[Callable[[Context], Part], ...] = (
    fragility.run,
    two_models.run,
)
CLAIMS: dict[str, str] = {
    fragility.CLAIM: fragility.STATEMENT,
    two_models.CLAIM: two_models.STATEMENT,
}


def run(context: Context) -> Findings:
    """Run every part and join what they found, verdicts in the order of the claims."""
    return run_parts(context, PARTS, tuple(CLAIMS))


STUDY = Study(
    name="impairment",
    title="Graded damage: how abilities break, whether a topic has its own units, and which of two models is sturdier",
    source="Helm-Burger, “Progress report 7” (LessWrong, 2022)",
    claims=CLAIMS,
    run=run,
)
