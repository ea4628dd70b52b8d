"""All measures on a small network that must recall: what they say where a recall mechanism is known to be there."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from rheostat.base.shapes import Figure, Profile
from rheostat.edit.arithmetic import Zero
from rheostat.edit.knockout import CutAttention
from rheostat.edit.plan import PlanLike
from rheostat.metrics.statistics import Values, bootstrap_mean
from rheostat.model import Model
from rheostat.studies.curve import curve
from rheostat.studies.part import Part
from rheostat.studies.recall.triples import N_RELATIONS, STEPS, Triple, trained, triples
from rheostat.studies.record import Section
from rheostat.studies.study import Context
from rheostat.tracing.attention_knockout import attention_knockout
from rheostat.tracing.attributes_rate import WordDecoder
from rheostat.tracing.extraction import SUBLAYERS, extracted_tokens

N_FACTS, N_FACTS_QUICK = 96, 24
SOURCES = {"subject": [0, 1], "non-subject": [2], "last": [3]}
"""A prompt is two names, a relation and “is”."""
LAST_NAME = 1


def measure(context: Context) -> pd.DataFrame:
    """Return one long table: columns fact, measure, series, place, value; `recalled` is the share of facts it knows."""

    def compute() -> pd.DataFrame:
        every = triples(context.seed)
        model, recalled = trained(every, context.seed)
        facts = [one for number, one in enumerate(every) if number % N_RELATIONS == number // N_RELATIONS % N_RELATIONS]
        facts = facts[: N_FACTS_QUICK if context.quick else N_FACTS]
        rows = [*_knockout(model, facts), *_extraction(model, facts), *_enrichment(model, every, facts)]
        return pd.DataFrame(rows).assign(recalled=recalled)

    params = {"seed": context.seed, "quick": context.quick, "steps": STEPS, "versions": torch.__version__}
    return context.step("trained-case", params, compute)


Row = dict[str, object]


def _knockout(model: Model, facts: Sequence[Triple]) -> list[Row]:
    rows: list[Row] = []
    for one in facts:
        found = attention_knockout(model, one.prompt, SOURCES, width=1, answer=one.attribute)
        shown = found.table.rename(columns={"source": "series", "centre": "place", "change": "value"})
        kept = shown[["series", "place", "value"]].assign(fact=one.prompt, measure="knockout")
        rows += [{str(name): value for name, value in row.items()} for row in kept.to_dict("records")]
    return rows


def _extraction(model: Model, facts: Sequence[Triple]) -> list[Row]:
    prompts = [one.prompt for one in facts]
    answers = torch.tensor([model.token_id(one.attribute) for one in facts])
    cut = CutAttention("blocks.*.pattern", positions="last", keys=SOURCES["subject"])
    rows: list[Row] = []
    for kind in SUBLAYERS:
        for state, plans in ((kind, None), (f"{kind}, subject blocked", [cut] * len(facts))):
            said = extracted_tokens(model, prompts, kind=kind, plans=plans) == answers[:, None]
            rows += [
                {"fact": prompt, "measure": "extraction", "series": state, "place": block, "value": float(value)}
                for prompt, row in zip(prompts, said.tolist(), strict=True)
                for block, value in enumerate(row)
            ]
    return rows


def _enrichment(model: Model, every: Sequence[Triple], facts: Sequence[Triple]) -> list[Row]:
    """Return the share of a subject's attributes among as many words, by block, whole and without sublayers."""
    n, half = model.n_blocks, model.n_blocks // 3
    plans: dict[str, PlanLike] = {
        "whole": None,
        "early MLPs removed": Zero(f"blocks.0-{half - 1}.mlp_out"),
        "early attention removed": Zero(f"blocks.0-{half - 1}.attn_out"),
        "late MLPs removed": Zero(f"blocks.{n - half}-{n - 1}.mlp_out"),
    }
    decoder, rows = WordDecoder(model), []
    sites = [f"blocks.{block}.resid_post" for block in range(n)]
    for series, plan in plans.items():
        acts = model.capture([one.prompt for one in facts], sites, LAST_NAME, edits=plan)
        for place, site in enumerate(sites):
            words = decoder.words(acts[site][:, 0])
            for number, one in enumerate(facts):
                other = facts[(number + 1) % len(facts)]
                for label, subject in ((series, one), (f"{series}, another subject's words", other)):
                    wanted = {t.attribute for t in every if (t.first, t.last) == (subject.first, subject.last)}
                    share = sum(word in wanted for word in words[number][: len(wanted)]) / len(wanted)
                    shared = {"fact": one.prompt, "measure": "enrichment", "series": label}
                    rows.append({**shared, "place": place, "value": share})
    return rows


def wide(table: pd.DataFrame, measure_name: str, series: str) -> Values:
    """Return the values of a series, (fact, place)."""
    chosen = table[(table["measure"] == measure_name) & (table["series"] == series)]
    found: Values = chosen.pivot(index="fact", columns="place", values="value").to_numpy(dtype=np.float64)
    return found


def run(context: Context) -> Part:
    """Train the network and show what every measure says of it."""
    table = measure(context)
    figures: tuple[Figure, ...] = (
        _figure(table, "knockout", tuple(SOURCES), "change of the answer's probability (%)", context.seed),
        _figure(table, "extraction", SUBLAYERS, "share of facts whose answer the update says", context.seed),
        _figure(
            table,
            "enrichment",
            ("whole", "whole, another subject's words", "early MLPs removed", "early attention removed"),
            "share of the subject's attributes",
            context.seed,
        ),
    )
    section = Section(
        heading="A network that must recall",
        text=_describe(table, context.seed),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), {"trained-case": table}, figures)


def _describe(table: pd.DataFrame, seed: int) -> str:
    strongest = {name: wide(table, "knockout", name).mean(axis=0) for name in SOURCES}
    said = {
        name: bootstrap_mean(wide(table, "extraction", name).max(axis=1), seed=seed)
        for kind in SUBLAYERS
        for name in (kind, f"{kind}, subject blocked")
    }
    rich = {
        name: wide(table, "enrichment", name).mean(axis=0)
        for name in (
            "whole",
            "whole, another subject's words",
            "early MLPs removed",
            "early attention removed",
            "late MLPs removed",
        )
    }
    best = int(rich["whole"].argmax())
    cuts = "; ".join(f"{name} {change.min():.0f} % at block {change.argmin()}" for name, change in strongest.items())
    spoken = "; ".join(f"{name.replace('_out', '')} {one.value:.0%}" for name, one in said.items())
    left = "; ".join(f"{name} {share[best]:.0%}" for name, share in rich.items())
    return (
        f"A network of {len(rich['whole'])} blocks, trained from nothing on made-up triples of a subject of two names, "
        f"a relation and an attribute, recalls {table['recalled'].iloc[0]:.0%} of them. It shows what the measures say "
        "where the answer can only come from the subject's tokens; "
        f"n = {table['fact'].nunique()} facts, one network.\n\n"
        f"Cutting attention to the last token, one block at a time, costs most: {cuts}. The answer is said by some "
        f"update of: {spoken}. Share of the subject's attributes among as many words decoded at its last token after "
        f"block {best}: {left}."
    )


def _figure(table: pd.DataFrame, name: str, series: Sequence[str], y_label: str, seed: int) -> Profile:
    rows: list[dict[str, object]] = []
    for one in series:
        rows += curve(one, enumerate(wide(table, name, one).T), seed)
    return Profile(
        name=f"trained-{name}",
        title=f"A network trained to recall: {name}",
        x_label="block",
        y_label=y_label,
        table=pd.DataFrame(rows),
        note=f"n = {table['fact'].nunique()} facts of one trained network, 95 % bootstrap intervals.",
    )
