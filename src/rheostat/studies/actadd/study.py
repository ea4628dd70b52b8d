"""Measure texts and completions once, judge eight claims."""

from collections.abc import Callable

from rheostat.studies.actadd import (
    beginnings,
    depth,
    embedding,
    next_tokens,
    on_topic,
    opposites,
    power,
    prompting,
    steering,
    strength,
)
from rheostat.studies.actadd.completions import complete
from rheostat.studies.actadd.measuring import (
    measure_bbc,
    measure_beginnings,
    measure_coefficients,
    measure_passages,
    measure_prompting,
)
from rheostat.studies.actadd.words import WEDDINGS
from rheostat.studies.part import Part, run_parts
from rheostat.studies.study import Context, Findings, Study

CLAIMS = {
    steering.CLAIM: steering.STATEMENT,
    on_topic.CLAIM: on_topic.STATEMENT,
    depth.CLAIM: depth.STATEMENT,
    strength.CLAIM: strength.STATEMENT,
    prompting.CLAIM: prompting.STATEMENT,
    embedding.CLAIM: embedding.STATEMENT,
    steering.PLACE_CLAIM: steering.PLACE_STATEMENT,
    opposites.CLAIM: opposites.STATEMENT,
}


def run(context: Context) -> Findings:
    """Score texts and completions of every model, and judge what the paper says of them."""
    models, seed = context.models, context.seed
    passages = {model.name: measure_passages(model, context) for model in models}
    bbc = {model.name: measure_bbc(model, context) for model in models}
    prompted = {model.name: measure_prompting(model, context) for model in models}
    coefficients = {model.name: measure_coefficients(model, context) for model in models}
    begun = {model.name: measure_beginnings(model, context, passages[model.name]) for model in models}
    shifts = {model.name: next_tokens.measure(model, context) for model in models}
    pairs = {model.name: opposites.measure(model, context) for model in models}
    completed = {model.name: complete(model, context) for model in models}
    weddings = {name: found[WEDDINGS.name] for name, found in completed.items()}
    seen = power.of_passages(passages, seed)
    parts = (
        on_topic.run({"passages": passages, "BBC": bbc}, seed, seen),
        depth.run(passages, {model.name: model.n_blocks for model in models}, seed, seen),
        strength.run(coefficients, next(iter(passages.values())).texts, seed, seen),
        prompting.run(passages, prompted, seed, seen),
        embedding.run(passages, weddings, seed, seen),
        beginnings.run(begun, seed),
        steering.run(completed, seed),
        opposites.run(pairs, seed, seen),
        next_tokens.run(shifts),
    )
    return run_parts(context, [_made(part) for part in parts], tuple(CLAIMS))


def _made(part: Part) -> Callable[[Context], Part]:
    return lambda _context: part


STUDY = Study(
    name="actadd",
    title="Activation addition: what the difference of two short prompts does on and off its topic",
    source="Turner et al., “Activation Addition: Steering Language Models Without Optimization” (arXiv:2308.10248)",
    claims=CLAIMS,
    run=run,
)
