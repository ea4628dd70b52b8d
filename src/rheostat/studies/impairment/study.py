"""The parts of the study in order, joined into one record."""

from collections.abc import Callable

from rheostat.studies.impairment import fragility, hypothesis_a, prompts, shapley, topic_bound, two_models
from rheostat.studies.part import Part, run_parts
from rheostat.studies.study import Context, Findings, Study

PARTS: tuple[Callable[[Context], Part], ...] = (
    prompts.part,
    hypothesis_a.part,
    topic_bound.run,
    fragility.run,
    two_models.run,
    shapley.run,
)
CLAIMS: dict[str, str] = {
    **hypothesis_a.STATEMENTS,
    topic_bound.CLAIM: topic_bound.STATEMENT,
    fragility.CLAIM: fragility.STATEMENT,
    two_models.CLAIM: two_models.STATEMENT,
    shapley.CLAIM: shapley.STATEMENT,
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
