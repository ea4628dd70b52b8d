"""The parts of the study in order, joined into one record."""

from collections.abc import Callable

from rheostat.studies.part import Part, run_parts
from rheostat.studies.study import Context, Findings, Study
from rheostat.studies.vector_arithmetic import analogies, knowing, reuse, settling, top_removed, top_tokens

PARTS: tuple[Callable[[Context], Part], ...] = (
    top_tokens.run,
    reuse.run,
    knowing.run,
    top_removed.run,
    analogies.run,
    settling.run,
)
CLAIMS: dict[str, str] = {
    top_tokens.CLAIM: top_tokens.STATEMENT,
    **reuse.STATEMENTS,
    knowing.CLAIM: knowing.STATEMENT,
    top_removed.CLAIM: top_removed.STATEMENT,
    analogies.CLAIM: analogies.STATEMENT,
}


def run(context: Context) -> Findings:
    """Run every part and join what they found, verdicts in the order of the claims."""
    return run_parts(context, PARTS, tuple(CLAIMS))


STUDY = Study(
    name="vector-arithmetic",
    title="Vector arithmetic: from argument to answer, one MLP update for all arguments, and what the top MLPs hold",
    source="Merullo et al., “Language Models Implement Simple Word2Vec-style Vector Arithmetic” (arXiv:2305.16130)",
    claims=CLAIMS,
    run=run,
)
