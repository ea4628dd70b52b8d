"""The parts of the study in order, joined into one record."""

from collections.abc import Callable

from rheostat.studies.part import Part, run_parts
from rheostat.studies.repe import concept_reading
from rheostat.studies.study import Context, Findings, Study

PARTS: tuple[Callable[[Context], Part], ...] = (concept_reading.run,)
CLAIMS = {concept_reading.CLAIM: concept_reading.STATEMENT}


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
