"""The parts of the study in order, joined into one record."""

from collections.abc import Callable

import pandas as pd

from rheostat.base.shapes import Figure
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
from rheostat.studies.decoding.part import Part
from rheostat.studies.record import Section, Verdict
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
    sections: list[Section] = []
    figures: list[Figure] = []
    verdicts: list[Verdict] = []
    tables: dict[str, pd.DataFrame] = {}
    warnings: list[str] = []
    for part in PARTS:
        found = part(context)
        sections += found.sections
        figures += found.figures
        verdicts += found.verdicts
        tables.update(found.tables)
        warnings += found.warnings
    if context.quick:
        warnings.append("A quick run: few prompts, some blocks left out. Its verdicts are hints, not findings.")
    order_of = {claim: place for place, claim in enumerate(CLAIMS)}
    return Findings(
        verdicts=tuple(sorted(verdicts, key=lambda verdict: order_of[verdict.claim])),
        sections=tuple(sections),
        tables=tables,
        figures=tuple(figures),
        warnings=tuple(warnings),
    )


STUDY = Study(
    name="decoding",
    title="Decoding intermediate activations: what each layer reads, and whether that is where to edit",
    source="Rimsky, “Decoding intermediate activations in Llama-2-7b” (LessWrong, 2023)",
    claims=CLAIMS,
    run=run,
)
