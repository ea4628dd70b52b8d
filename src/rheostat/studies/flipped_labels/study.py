"""The parts of the study in order, joined into one record."""

from functools import partial

import pandas as pd

from rheostat.metrics.statistics import Values, bootstrap_mean
from rheostat.studies.flipped_labels import more_examples, override, trained_pair, tuned_and_base, unrelated
from rheostat.studies.flipped_labels.measuring import Asked, by_texts, measure
from rheostat.studies.flipped_labels.settings import settings
from rheostat.studies.part import Part, Tables, joined, run_parts
from rheostat.studies.record import Section
from rheostat.studies.study import Context, Findings, Study

CLAIMS = {
    **override.STATEMENTS,
    unrelated.CLAIM: unrelated.STATEMENT,
    more_examples.CLAIM: more_examples.STATEMENT,
    tuned_and_base.CLAIM: tuned_and_base.STATEMENT,
}


def run(context: Context) -> Findings:
    """Ask every model in every setting, run the parts, and join what they found."""
    tables = {model.name: measure(model, context) for model in context.models}
    asked = by_texts(tables)
    parts = (
        partial(_asked, tables=tables, asked=asked),
        partial(override.run, asked=asked),
        partial(unrelated.run, asked=asked),
        partial(more_examples.run, asked=asked),
        partial(tuned_and_base.run, asked=asked),
        trained_pair.run,
    )
    return run_parts(context, parts, tuple(CLAIMS))


def _asked(context: Context, tables: Tables, asked: Asked) -> Part:
    """Say how it was asked, and give every accuracy as a table."""
    rows = [
        {"model": model, "texts": texts, "setting": setting.name, "scored": way, **_interval(values, context.seed)}
        for (model, texts), one in asked.items()
        for setting in settings(quick=context.quick)
        for way, values in (("as it is", one.right(setting)), ("calibrated", one.calibrated(setting)))
    ]
    return Part((Section("How it was asked", TEXT),), {"answers": joined(tables), "accuracies": pd.DataFrame(rows)})


def _interval(values: Values, seed: int) -> dict[str, object]:
    mean = bootstrap_mean(values, seed=seed)
    return {"accuracy": mean.value, "low": mean.low, "high": mean.high, "streams": mean.n}


TEXT = (
    "Demonstrations “Input: …”, “Output: label”, an empty line between two, then a query that ends at “Output:”. The "
    "answer is the likelier of the two labels, each one token of either model. Every demonstration set (a stream) is "
    "asked four queries, whose classes are drawn apart from it; from 4 demonstrations per class on the queries follow "
    "one another, and each is a demonstration to the next. The source draws fresh demonstrations for every query and "
    "asks 100; here streams are what intervals resample. Demonstrations are balanced and mixed, the share of flipped "
    "labels is exact in each class, and queries are judged by the labels that are right outside of the prompt. "
    "Calibrated: the mean margin between the two labels over the queries of all other streams, whose classes are "
    "balanced but for one stream, is taken off."
)

STUDY = Study(
    name="flipped-labels",
    title="Demonstrations with changed labels: flipped, unrelated, in random order, left out",
    source="Wei et al., “Larger language models do in-context learning differently” (arXiv:2303.03846)",
    claims=CLAIMS,
    run=run,
)
