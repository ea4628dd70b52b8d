"""Are answers that must be known made in another way than answers that stand in the context, and are they harder?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rheostat.base.shapes import Profile
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.curve import curve
from rheostat.studies.judging import against, compared_all, held, judge, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.power import in_words, would_be_seen
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.vector_arithmetic.fact_versions import ABSTRACTIVE, EXTRACTIVE, VERSIONS, WRONG, Version, versions
from rheostat.studies.vector_arithmetic.phases import leads_before, takeover
from rheostat.studies.vector_arithmetic.reading import MID, POST, by_block, lens_ranks

CLAIM = "vecarith-4"
STATEMENT = (
    "Tasks whose answer stands in the context are processed without the function step, those that need knowledge with "
    "it, and the latter are harder."
)
N_FACTS, N_FACTS_QUICK = 48, 8
PLANTED = 0.25
"""A share of facts that must be seen."""


def asked_versions(model: Model, context: Context) -> list[Version]:
    """Return the versions of this run's facts."""
    return versions(model, N_FACTS_QUICK if context.quick else N_FACTS, context.seed)


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return ranks of argument, answer and rival per version, kind of site and block; see `lens_ranks`.

    With the columns fact, relation and version.
    """
    listed = asked_versions(model, context)

    def compute() -> pd.DataFrame:
        named = [{"argument": one.argument, "answer": (one.answer,), "rival": (one.rival,)} for one in listed]
        table = lens_ranks(model, [one.prompt for one in listed], named, (MID, POST))
        for column in ("fact", "relation", "version"):
            table[column] = table["prompt"].map(dict(enumerate(getattr(one, column) for one in listed)))
        return table

    params = step_params(model, context, prompts=[one.prompt for one in listed])
    return context.step(f"versions-{model.name}", params, compute)


def of_version(table: pd.DataFrame, version: str, name: str, kind: str = POST) -> Values:
    """Return ranks of a name in one version, (fact, block)."""
    chosen = table[table["version"] == version]
    return by_block(chosen.assign(prompt=chosen["fact"]), name, kind)


def answered(table: pd.DataFrame, *wanted: str) -> pd.DataFrame:
    """Return the rows of the facts whose answer leads at the last block in all of these versions."""
    last = table[(table["kind"] == POST) & (table["block"] == table["block"].max()) & table["version"].isin(wanted)]
    right = (last["answer"] == 1).groupby(last["fact"]).all()
    return table[table["fact"].isin(right.index[right])]


def by_mlp(middle: Values, after: Values) -> Values:
    """Return, per prompt, 1 where the answer first leads after an MLP: not yet between attention and MLP of its block.

    Args:
        middle: ranks of the answer between attention and MLP, (prompt, block).
        after: ranks after the block.
    """
    first, before = takeover(after), takeover(middle)
    return np.asarray((first < before) & (first < after.shape[1]), dtype=np.float64)


def measure_all(name: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return the function step and the failures of the abstractive version, against both extractive ones."""
    found = []
    for other in (EXTRACTIVE, WRONG):
        both = answered(table, ABSTRACTIVE, other)
        step = {v: leads_before(of_version(both, v, "argument"), of_version(both, v, "answer")) for v in VERSIONS}
        flip = {v: by_mlp(of_version(both, v, "answer", MID), of_version(both, v, "answer")) for v in VERSIONS}
        for what, one in (("argument leads before the answer", step), ("answer takes over at an MLP", flip)):
            if len(one[ABSTRACTIVE]) > 1:
                control = {other: one[other]}
                found += against(name, f"{what} (share)", one[ABSTRACTIVE], control, unit="facts", seed=seed)
    failed = {version: (of_version(table, version, "answer")[:, -1] != 1).astype(float) for version in VERSIONS}
    controls = {other: failed[other] for other in (EXTRACTIVE, WRONG)}
    return [*found, *against(name, "not answered (share)", failed[ABSTRACTIVE], controls, unit="facts", seed=seed)]


def run(context: Context) -> Part:
    """Read all versions of the facts and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    found = {name: measure_all(name, table, context.seed) for name, table in tables.items()}
    every = [one for ms in found.values() for one in ms]
    deciding = [one for one in every if one.control_name == EXTRACTIVE]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=would_be_seen(deciding, PLANTED) == len(deciding)),
        reason=f"{held(deciding)} Steps are compared on facts that are answered in both versions. "
        f"{in_words(deciding, PLANTED)} The version with a wrong fact does not decide: there the context pulls against "
        "what the model knows.",
        measurements=tuple(every),
    )
    figures = tuple(
        _figure(name, table, context.seed)
        for name, table in tables.items()
        if answered(table, ABSTRACTIVE, EXTRACTIVE)["fact"].nunique() > 1
    )
    section = Section(
        heading="Known or copied",
        text="\n\n".join(_describe(name, table, found[name]) for name, table in tables.items()),
        figures=tuple(figure.name for figure in figures),
        tables=("takeovers",),
    )
    shown = joined({name: _takeovers(table) for name, table in tables.items()})
    return Part((section,), {"versions": joined(tables), "takeovers": shown}, figures, (verdict,))


def _takeovers(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    both = answered(table, ABSTRACTIVE, EXTRACTIVE)
    for version in VERSIONS:
        answer = of_version(both, version, "answer")
        first = takeover(answer)
        led = first < answer.shape[1]
        rows.append(
            {
                "version": version,
                "facts answered in both": len(answer),
                "answered of all": float((of_version(table, version, "answer")[:, -1] == 1).mean()),
                "median block of the takeover": float(np.median(first[led])) if led.any() else float("nan"),
                "takeover at an MLP": mean(by_mlp(of_version(both, version, "answer", MID), answer)),
                "argument leads first": mean(leads_before(of_version(both, version, "argument"), answer)),
            }
        )
    return pd.DataFrame(rows)


def mean(values: Values) -> float:
    """Return the mean; NaN of no value."""
    return float(values.mean()) if len(values) else float("nan")


def _describe(name: str, table: pd.DataFrame, found: Sequence[Measurement]) -> str:
    blocks = "; ".join(
        f"{row['version']}: {row['answered of all']:.0%} answered, takeover at block "
        f"{number(row['median block of the takeover'])} (median)"
        for row in _takeovers(table).to_dict("records")
    )
    return f"{name}, {table['fact'].nunique()} facts. {blocks}. {compared_all(found)}"


def _figure(name: str, table: pd.DataFrame, seed: int) -> Profile:
    rows: list[dict[str, object]] = []
    both = answered(table, ABSTRACTIVE, EXTRACTIVE)
    lines: Mapping[str, tuple[str, str]] = {
        "to be known: answer": (ABSTRACTIVE, "answer"),
        "to be known: argument": (ABSTRACTIVE, "argument"),
        "in the context: answer": (EXTRACTIVE, "answer"),
        "in the context: argument": (EXTRACTIVE, "argument"),
    }
    for label, (version, token) in lines.items():
        ranks = of_version(both, version, token)
        rows += curve(label, ((b, (ranks[:, b] == 1).astype(float)) for b in range(ranks.shape[1])), seed)
    return Profile(
        f"versions-{name}",
        f"Known or copied, {name}",
        "block",
        "share of facts where it leads",
        pd.DataFrame(rows),
        f"n = {both['fact'].nunique()} facts answered in both versions, last token, 95 % bootstrap intervals.",
    )
