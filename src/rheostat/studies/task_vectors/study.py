"""The parts of the study in order, joined into one record."""

from collections.abc import Callable, Sequence

from rheostat.studies.part import Part, run_parts
from rheostat.studies.study import Context, Findings, Study
from rheostat.studies.task_vectors import clusters, conflict, depth, meaning, solving
from rheostat.studies.task_vectors.measured import Measured, measure

PartOf = Callable[[Context, Sequence[Measured]], Part]
PARTS: tuple[PartOf, ...] = (
    solving.run,
    depth.run,
    clusters.run,
    meaning.run,
    conflict.run,
)
CLAIMS = {
    solving.CLAIM: solving.STATEMENT,
    **depth.STATEMENTS,
    clusters.CLAIM: clusters.STATEMENT,
    meaning.CLAIM: meaning.STATEMENT,
    conflict.CLAIM: conflict.STATEMENT,
}


def run(context: Context) -> Findings:
    """Measure every model once, run every part and join what they found, verdicts in the order of the claims."""
    measured = [measure(model, context) for model in context.models]
    return run_parts(context, [_with(part, measured) for part in PARTS], tuple(CLAIMS))


def _with(part: PartOf, measured: Sequence[Measured]) -> Callable[[Context], Part]:
    return lambda context: part(context, measured)


STUDY = Study(
    name="task-vectors",
    title="Task vectors: what demonstrations leave at the last token, and what it does in other prompts",
    source="Hendel et al., “In-Context Learning Creates Task Vectors” (2023)",
    claims=CLAIMS,
    run=run,
)
