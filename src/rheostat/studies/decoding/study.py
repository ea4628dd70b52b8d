"""The parts of the study in order, joined into one record."""

from collections.abc import Callable

from rheostat.studies.decoding import (
    bigram,
    capitals,
    carrying,
    climb,
    country_layer,
    example,
    informed_manipulation,
    order,
    read_quality,
    topics,
)
from rheostat.studies.part import Part, run_parts
from rheostat.studies.study import Context, Findings, Study

PARTS: tuple[Callable[[Context], Part], ...] = (
    example.run,
    informed_manipulation.run,
    capitals.run,
    carrying.run,
    topics.run,
    country_layer.run,
    read_quality.run,
    order.run,
    climb.run,
    bigram.run,
)
CLAIMS = {
    **read_quality.STATEMENTS,
    bigram.CLAIM: bigram.STATEMENT,
    order.CLAIM: order.STATEMENT,
    climb.CLAIM: climb.STATEMENT,
    informed_manipulation.CLAIM: informed_manipulation.STATEMENT,
    capitals.CLAIM: capitals.STATEMENT,
    carrying.CLAIM: carrying.STATEMENT,
    **topics.STATEMENTS,
    country_layer.CLAIM: country_layer.STATEMENT,
}


def run(context: Context) -> Findings:
    """Run every part and join what they found, verdicts in the order of the claims."""
    return run_parts(context, PARTS, tuple(CLAIMS))


STUDY = Study(
    name="decoding",
    title="Decoding intermediate activations: what each layer reads, and whether that is where to edit",
    source="Rimsky, “Decoding intermediate activations in Llama-2-7b” (LessWrong, 2023)",
    claims=CLAIMS,
    run=run,
)
