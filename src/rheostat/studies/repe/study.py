"""The parts of the study in order, joined into one record."""

from collections.abc import Callable

from rheostat.studies.part import Part, run_parts
from rheostat.studies.repe import (
    concept_reading,
    emotion_clusters,
    lying,
    oversight,
    own_answers,
    risk_and_utility,
    several_at_once,
    stimuli,
    template_end,
    truth_tokens,
)
from rheostat.studies.study import Context, Findings, Study

PARTS: tuple[Callable[[Context], Part], ...] = (
    concept_reading.run,
    truth_tokens.run,
    own_answers.run,
    several_at_once.run,
    template_end.run,
    stimuli.run,
    lying.run,
    risk_and_utility.run,
    emotion_clusters.run,
    oversight.run,
)
CLAIMS = {
    concept_reading.CLAIM: concept_reading.STATEMENT,
    own_answers.CLAIM: own_answers.STATEMENT,
    several_at_once.CLAIM: several_at_once.STATEMENT,
    template_end.CLAIM: template_end.STATEMENT,
    stimuli.CLAIM: stimuli.STATEMENT,
    lying.CLAIM: lying.STATEMENT,
    risk_and_utility.CLAIM: risk_and_utility.STATEMENT,
    emotion_clusters.CLAIM: emotion_clusters.STATEMENT,
    oversight.CLAIM: oversight.STATEMENT,
}


def run(context: Context) -> Findings:
    """Run every part and join what they found, verdicts in the order of the claims."""
    return run_parts(context, PARTS, tuple(CLAIMS))


STUDY = Study(
    name="repe",
    title="Representation engineering: reading concepts from states, and steering by them",
    source="Zou et al., “Representation Engineering: A Top-Down Approach to AI Transparency” (arXiv:2310.01405)",
    claims=CLAIMS,
    run=run,
)
