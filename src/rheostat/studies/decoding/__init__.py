"""The decoding post, tested: what each layer reads, and whether that is where to edit."""

from rheostat.studies.decoding import (
    bigram,
    climb,
    country_layer,
    example,
    informed_manipulation,
    order,
    read_quality,
)
from rheostat.studies.study import Context, Findings, Study

PARTS = (example, informed_manipulation, read_quality, order, climb, bigram, country_layer)

CLAIMS = {
    "decode-1": "Block outputs decode to meaningful tokens at most layers, all but a few early ones.",
    "decode-2": "Attention outputs, the residual after attention, and MLP outputs decode too.",
    "decode-3": "The first block acts as a bigram predictor.",
    "decode-4": "Meaning appears in order: category, at first in other languages, English context, the answer.",
    "decode-5": "The answer's probability climbs over a few upper-middle layers; later layers are mostly redundant.",
    "decode-6": "Where the decode shows the concept is where editing it works best.",
    "decode-7": "Mixing works at one layer and not at its neighbour.",
    "decode-8": "The injected concept is carried on and joins the computation.",
    "decode-9": "Attention at one layer brings in the topic, and mixing before that layer redirects the completion.",
    "decode-10": "At that layer word lists steer predictably with one factor.",
    "decode-11": "One layer's attention output represents countries even for prompts about none.",
}


def run(context: Context) -> Findings:
    """Run every part and gather what they found."""
    parts = [part.run(context) for part in PARTS]
    return Findings(
        verdicts=tuple(verdict for part in parts for verdict in part.verdicts),
        sections=tuple(section for part in parts for section in part.sections),
        tables={name: table for part in parts for name, table in part.tables.items()},
        figures=tuple(figure for part in parts for figure in part.figures),
        warnings=tuple(warning for part in parts for warning in part.warnings),
    )


STUDY = Study(
    name="decoding",
    title="Decoding intermediate activations: what each layer reads, and whether that is where to edit",
    source="Rimsky, “Decoding intermediate activations in Llama-2-7b” (LessWrong, 2023)",
    claims=CLAIMS,
    run=run,
)
