"""Measure once, judge three claims."""

from collections.abc import Callable

from rheostat.studies.causal_tracing import location, planted, sublayers, total_effect
from rheostat.studies.causal_tracing.measuring import measure
from rheostat.studies.part import Part, run_parts
from rheostat.studies.study import Context, Findings, Study

CLAIMS = {
    total_effect.CLAIM: total_effect.STATEMENT,
    location.CLAIM: location.STATEMENT,
    sublayers.CLAIM: sublayers.STATEMENT,
}


def run(context: Context) -> Findings:
    """Trace the facts of every model, and judge what the paper says of them."""
    tables = {model.name: planted.measure(model, context) for model in context.models}
    found, power = planted.run(tables, context.seed)
    traced = {model.name: measure(model, context) for model in context.models}
    parts = (
        total_effect.run(traced, context.seed, planted_found=found),
        location.run(traced, context.seed, planted_found=found),
        sublayers.run(traced, context.seed, planted_found=found),
        power,
    )
    return run_parts(context, [_made(part) for part in parts], tuple(CLAIMS))


def _made(part: Part) -> Callable[[Context], Part]:
    return lambda _context: part


STUDY = Study(
    name="causal-tracing",
    title="Causal tracing: which activations carry a fact past noise on its subject",
    source="Meng, Bau, Andonian and Belinkov, “Locating and Editing Factual Associations in GPT” (arXiv:2202.05262)",
    claims=CLAIMS,
    run=run,
)
