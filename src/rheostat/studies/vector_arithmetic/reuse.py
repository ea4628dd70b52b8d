"""Is the update a function that can be reused: does it yield the answer to whatever argument a context carries?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Grid
from rheostat.metrics.statistics import bootstrap_mean
from rheostat.studies.judging import against, held, judge, number
from rheostat.studies.part import Part, joined
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.vector_arithmetic.insertion import PLANTED, Key, gain, has, measure, ranks
from rheostat.studies.vector_arithmetic.questions import CAPITALS, IN
from rheostat.studies.vector_arithmetic.updates import (
    BEFORE,
    CONTROLS,
    EXTRACTED,
    NONE,
    OTHER_TASK,
    RANDOM,
    SHUFFLED,
    WAYS,
)

STATEMENTS = {
    "vecarith-2": "The MLP update at the block where the answer takes over is a reusable function: in an unrelated "
    "context that carries another argument it yields that argument's answer.",
    "vecarith-3": "This works for other arguments and tasks alike: upper case, past tense, items outside the "
    "extraction set.",
}
RIVAL = "another argument's answer"
SHORT = {
    CAPITALS: "capitals",
    "past-tense": "past",
    SHUFFLED: "shuffled",
    OTHER_TASK: "other task",
    RANDOM: "random",
    BEFORE: "block before",
    RIVAL: "rival",
}
"""Names that fit a figure."""


def parts_of(table: pd.DataFrame) -> dict[Key, pd.DataFrame]:
    """Return the rows of every task and domain in which at least two arguments were tried."""
    found = {(str(key[0]), str(key[1])): mine for key, mine in table.groupby(["task", "domain"], sort=False)}
    return {key: mine for key, mine in found.items() if has(mine)}


def measure_all(name: str, key: Key, table: pd.DataFrame, way: str, seed: int) -> list[Measurement]:
    """Return the gain of the answer's reciprocal rank under the extracted update, against every control."""
    controls = {one: gain(table, one, way) for one in CONTROLS if has(table, one)}
    controls[RIVAL] = gain(table, EXTRACTED, way, "rival_rank")
    what = f"gain of the reciprocal rank, {key[0]}, {key[1]}, {way}"
    return against(name, what, gain(table, EXTRACTED, way), controls, unit="arguments", seed=seed)


def planted_found(tables: Sequence[pd.DataFrame], seed: int) -> bool:
    """Tell whether an update that says the answer is found to raise it, in every table and way of putting it in.

    False where there is none, or where a table holds too few of them.
    """
    return bool(tables) and all(
        has(table, PLANTED) and bootstrap_mean(gain(table, PLANTED, way), seed=seed).above_zero
        for table in tables
        for way in WAYS
    )


def run(context: Context) -> Part:
    """Put the updates of all models into contexts and judge both claims."""
    tables = {model.name: measure(model, context) for model in context.models}
    parts = {name: parts_of(table) for name, table in tables.items()}
    found = {
        (name, key, way): measure_all(name, key, table, way, context.seed)
        for name, mine in parts.items()
        for key, table in mine.items()
        for way in WAYS
    }
    verdicts = tuple(_verdict(claim, found, parts, context.seed) for claim in STATEMENTS)
    figures: tuple[Figure, ...] = tuple(
        _figure(name, mine, way, context.seed) for name, mine in parts.items() if mine for way in WAYS
    )
    section = Section(
        heading="One update, other arguments",
        text="\n\n".join(_describe(name, mine, found) for name, mine in parts.items()),
        figures=tuple(figure.name for figure in figures),
        tables=("insertion-ranks",),
    )
    shares = joined({name: _ranks(mine) for name, mine in parts.items()})
    return Part((section,), {"insertion": joined(tables), "insertion-ranks": shares}, figures, verdicts)


def _verdict(
    claim: str,
    found: Mapping[tuple[str, Key, str], Sequence[Measurement]],
    parts: Mapping[str, Mapping[Key, pd.DataFrame]],
    seed: int,
) -> Verdict:
    source = (CAPITALS, IN)
    deciding = [one for (_, key, _), ms in found.items() for one in ms if (key == source) == (claim == "vecarith-2")]
    mine = [table for each in parts.values() for key, table in each.items() if (key == source) == (claim[-1] == "2")]
    seen = planted_found(mine, seed)
    return Verdict(
        claim=claim,
        statement=STATEMENTS[claim],
        verdict=judge(deciding, planted_found=seen),
        reason=f"{held(deciding)} Both ways of putting the update in decide. An update that says the answer itself is "
        f"{'found' if seen else 'not found'} by the same measure.",
        measurements=tuple(deciding),
    )


def _describe(
    name: str, mine: Mapping[Key, pd.DataFrame], found: Mapping[tuple[str, Key, str], Sequence[Measurement]]
) -> str:
    sentences = []
    for key, table in mine.items():
        clean = ranks(table, NONE, NONE)
        for way in WAYS:
            edited, ms = ranks(table, EXTRACTED, way), found[name, key, way]
            above = [one.control_name for one in ms if one.low > 0]
            sentences.append(
                f"{key[0]}, {key[1]}, {way} (block {table['block'].iloc[0]}, {ms[0].n} arguments, {len(clean)} "
                f"contexts): median rank of the answer {number(float(np.median(clean)))}, then "
                f"{number(float(np.median(edited)))}; no better in {np.mean(edited >= clean):.0%}, first in "
                f"{np.mean(edited == 1):.0%}; gain of the reciprocal rank {number(ms[0].effect)}, above "
                f"{', '.join(above) if above else 'no control'}."
            )
    return f"{name}. " + " ".join(sentences)


def _ranks(mine: Mapping[Key, pd.DataFrame]) -> pd.DataFrame:
    rows = []
    for (task, domain), table in mine.items():
        clean = ranks(table, NONE, NONE)
        for way in WAYS:
            for update in (EXTRACTED, *CONTROLS):
                if has(table, update):
                    edited = ranks(table, update, way)
                    row = {"task": task, "domain": domain, "way": way, "update": update, "contexts": len(clean)}
                    medians = {"median rank before": np.median(clean), "median rank after": np.median(edited)}
                    shares = {"no better": np.mean(edited >= clean), "first": np.mean(edited == 1)}
                    rows.append({**row, **medians, **shares})
    return pd.DataFrame(rows)


def _figure(name: str, mine: Mapping[Key, pd.DataFrame], way: str, seed: int) -> Grid:
    rows = []
    for (task, domain), table in mine.items():
        values = {one: gain(table, one, way) for one in (EXTRACTED, *CONTROLS) if has(table, one)}
        values[RIVAL] = gain(table, EXTRACTED, way, "rival_rank")
        for update, gains in values.items():
            mean = bootstrap_mean(gains, seed=seed)
            text = f"{mean.value:+.2f} [{mean.low:.2f},{mean.high:.2f}]".replace("0.", ".")
            label = f"{SHORT.get(task, task)} {'in' if domain == IN else 'out'}"
            rows.append({"x": SHORT.get(update, update), "y": label, "value": mean.value, "text": text})
    return Grid(
        name=f"reuse-{way.replace(' ', '-')}-{name}",
        title=f"One update in contexts that carry another argument, {way}, {name}",
        x_label="what is put in; rival: the extracted update, read at another argument's answer",
        y_label="task, in or out of the domain",
        value_label="gain of the reciprocal rank",
        table=pd.DataFrame(rows),
        note="Mean over arguments, 95 % bootstrap intervals. Replaced: every MLP output from the block on; added: "
        "once, at the block and the last token.",
        centre=0.0,
    )
