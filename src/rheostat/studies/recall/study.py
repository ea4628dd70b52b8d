"""The parts of the study in order, joined into one record."""

from collections.abc import Callable

from rheostat.studies.part import Part, run_parts
from rheostat.studies.recall import (
    arrival,
    extracted,
    removed_sublayers,
    strongest_window,
    subject_words,
    top_sublayers,
    trained_case,
)
from rheostat.studies.study import Context, Findings, Study

PARTS: tuple[Callable[[Context], Part], ...] = (
    subject_words.run,
    strongest_window.run,
    arrival.run,
    removed_sublayers.run,
    top_sublayers.run,
    extracted.run,
    trained_case.run,
)
CLAIMS = {
    subject_words.CLAIM: subject_words.STATEMENT,
    strongest_window.CLAIM: strongest_window.STATEMENT,
    arrival.CLAIM: arrival.STATEMENT,
    removed_sublayers.CLAIM: removed_sublayers.STATEMENT,
    extracted.CLAIM: extracted.STATEMENT,
}


def run(context: Context) -> Findings:
    """Run every part and join what they found, verdicts in the order of the claims."""
    return run_parts(context, PARTS, tuple(CLAIMS))


STUDY = Study(
    name="recall",
    title="Recall of facts: what the last token reads, what a subject's states say, who extracts the answer",
    source="Geva et al., “Dissecting Recall of Factual Associations in Auto-Regressive Language Models” (2023)",
    claims=CLAIMS,
    run=run,
)
