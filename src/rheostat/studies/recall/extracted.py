"""Is the answer extracted at the last token by attention rather than by MLPs?

A fact counts as extracted by a kind of sublayer if the update of any block, decoded alone, has the answer on top.
Controls: another answer of the same relation, updates in random directions (their length does not matter to the top
token), and the last token kept from reading the subject in every block.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rheostat.base.shapes import Figure, Grid, Profile
from rheostat.edit.knockout import CutAttention
from rheostat.metrics.statistics import Values, bootstrap_mean
from rheostat.model import Model
from rheostat.studies.judging import against, held, interval, judge, number
from rheostat.studies.known_facts import KnownFact
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.recall.enrichment import NORMED, PLAIN
from rheostat.studies.recall.facts import chosen_facts
from rheostat.studies.recall.planted import saying
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.tracing.extraction import SUBLAYERS, said, sublayer_updates

CLAIM = "recall-5"
STATEMENT = "The answer is extracted at the last token by attention, not by MLPs."
ROWS = 24
"""Facts of one batch."""
WAYS = (PLAIN, NORMED)
"""How an update is decoded; the paper goes without the norm."""
INTACT, BLOCKED, RANDOM, PLANTED = "intact", "subject blocked", "random directions", "planted"
NAMES = {"attn_out": "attention", "mlp_out": "MLP"}
PLANTED_LENGTH = 1.0
"""Length of the planted direction, in lengths of the update that it is added to."""


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per fact, state of the network, kind of sublayer, block and way of decoding.

    Columns: fact, way, state, kind, block, `answer` and `rival`: whether the update says the answer, or another answer
    of the same relation.
    """
    facts = chosen_facts(model, context)

    def compute() -> pd.DataFrame:
        rivals, tables = rival_answers(facts), []
        for start in context.progress(range(0, len(facts), ROWS), f"reading updates, {model.name}"):
            chunk = facts[start : start + ROWS]
            tables += _chunk(model, chunk, rivals[start : start + ROWS], context.seed + start)
        return pd.concat(tables, ignore_index=True)

    asked = [(one.fact.prompt, one.answer) for one in facts]
    params = step_params(model, context, facts=asked, planted=PLANTED_LENGTH, ways=WAYS)
    return context.step(f"extraction-{model.name}", params, compute)


def rival_answers(facts: Sequence[KnownFact]) -> list[int]:
    """Return, per fact, the answer of the next fact of its relation that has another one; −1 where there is none."""
    found = []
    for place, one in enumerate(facts):
        order = [*facts[place + 1 :], *facts[:place]]
        answers = [other.answer for other in order if other.fact.relation == one.fact.relation]
        found.append(next((answer for answer in answers if answer != one.answer), -1))
    return found


def _chunk(model: Model, facts: Sequence[KnownFact], rivals: Sequence[int], seed: int) -> list[pd.DataFrame]:
    prompts, tables = [one.fact.prompt for one in facts], []
    cuts = [CutAttention("blocks.*.pattern", positions="last", keys=list(one.subject)) for one in facts]
    for kind in SUBLAYERS:
        intact = sublayer_updates(model, prompts, kind=kind)
        noise = torch.randn(intact.shape, generator=torch.Generator().manual_seed(seed))
        states = {
            INTACT: intact,
            BLOCKED: torch.cat(
                [sublayer_updates(model, [one], kind=kind, plans=[cut]) for one, cut in zip(prompts, cuts, strict=True)]
            ),
            RANDOM: noise / noise.norm(dim=-1, keepdim=True) * intact.norm(dim=-1, keepdim=True),
            PLANTED: _with_answers(model, intact, [one.answer for one in facts]),
        }
        for state, updates in states.items():
            for way in WAYS:
                tokens = said(model, updates, final_norm=way == NORMED)
                tables += [one.assign(way=way) for one in _rows(tokens, facts, rivals, state, kind)]
    return tables


def _with_answers(model: Model, updates: Tensor, answers: Sequence[int]) -> Tensor:
    """Return the updates of the middle block alone, (fact, 1, d_model), with a direction that says the answer added."""
    middle = updates[:, updates.shape[1] // 2]
    said_by = torch.stack([saying(model, [one], state) for one, state in zip(answers, middle, strict=True)])
    return (middle + PLANTED_LENGTH * said_by)[:, None]


def _rows(
    tokens: Tensor, facts: Sequence[KnownFact], rivals: Sequence[int], state: str, kind: str
) -> list[pd.DataFrame]:
    return [
        pd.DataFrame(
            {
                "fact": one.fact.prompt,
                "relation": one.fact.relation,
                "state": state,
                "kind": kind,
                "block": range(len(row)),
                "answer": (row == one.answer).numpy(),
                "rival": (row == rival).numpy(),
            }
        )
        for one, rival, row in zip(facts, rivals, tokens, strict=True)
    ]


def extracted(table: pd.DataFrame, state: str, kind: str, column: str = "answer") -> Values:
    """Return, per fact, 1 if any block's update says the answer, else 0."""
    chosen = table[(table["state"] == state) & (table["kind"] == kind)]
    found: Values = np.asarray(chosen.groupby("fact", sort=False)[column].max(), dtype=np.float64)
    return found


def measure_all(name: str, way: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return the extraction rate of attention against MLPs and every control, from the rows of one way of decoding."""
    attention = extracted(table, INTACT, "attn_out")
    controls = {
        "MLPs": extracted(table, INTACT, "mlp_out"),
        "the subject blocked": extracted(table, BLOCKED, "attn_out"),
        "another answer of the relation": extracted(table, INTACT, "attn_out", "rival"),
        "random directions": extracted(table, RANDOM, "attn_out"),
    }
    return against(name, f"extraction by attention, {way}", attention, controls, unit="facts", seed=seed)


def run(context: Context) -> Part:
    """Decode the updates of all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    by_way = {(name, way): table[table["way"] == way] for name, table in tables.items() for way in WAYS}
    found = {(name, way): measure_all(name, way, table, context.seed) for (name, way), table in by_way.items()}
    planted = {
        key: bootstrap_mean(extracted(table, PLANTED, "attn_out"), seed=context.seed) for key, table in by_way.items()
    }
    deciding = [one for ms in found.values() for one in ms]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=all(one.above_zero for one in planted.values())),
        reason=f"{held(deciding)} Updates are decoded without the final norm, as in the source, and with it. A "
        "direction that says the answer, added to one attention update at its own length, is extracted in "
        + "; ".join(f"{one.value:.0%} of the facts ({name}, {way})" for (name, way), one in planted.items())
        + ".",
        measurements=tuple(deciding),
    )
    figures: tuple[Figure, ...] = tuple(
        figure
        for (name, way), table in by_way.items()
        for figure in (_rates(name, way, table, context.seed), _blocks(name, way, table))
    )
    section = Section(
        heading="Which sublayer says the answer",
        text="\n\n".join(_describe(*key, table, found[key]) for key, table in by_way.items()),
        figures=tuple(figure.name for figure in figures),
        tables=("extraction-rates",),
    )
    shares = pd.DataFrame(
        [
            {"model": name, "decoded": way, **row}
            for (name, way), table in by_way.items()
            for row in _shares(table, context.seed)
        ]
    )
    return Part((section,), {"extraction": joined(tables), "extraction-rates": shares}, figures, (verdict,))


def _shares(table: pd.DataFrame, seed: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for state in (INTACT, BLOCKED, RANDOM):
        for kind in SUBLAYERS:
            for column in ("answer", "rival"):
                mean = bootstrap_mean(extracted(table, state, kind, column), seed=seed)
                said_what = {"network": state, "sublayer": kind, "token": column}
                rows.append({**said_what, "rate": mean.value, "low": mean.low, "high": mean.high})
    return rows


def _describe(name: str, way: str, table: pd.DataFrame, found: Sequence[Measurement]) -> str:
    mlps, blocked, rival, random = found
    where = []
    for kind in SUBLAYERS:
        chosen = table[(table["state"] == INTACT) & (table["kind"] == kind)].groupby("block")["answer"].mean()
        where.append(f"{kind} most often in block {chosen.idxmax()} ({chosen.max():.0%} of the facts)")
    both = extracted(table, INTACT, "attn_out") * extracted(table, INTACT, "mlp_out")
    return (
        f"{name}, {way}, {table['fact'].nunique()} facts. The answer is extracted by attention in "
        f"{mlps.effect:.0%} of the facts, by MLPs in {mlps.control:.0%} "
        f"(difference {interval(mlps)}), by both in {both.mean():.0%}; "
        f"{' and '.join(where)}. With the last token kept from reading the subject, attention extracts it in "
        f"{blocked.control:.0%} (fall {interval(blocked)}), MLPs in {extracted(table, BLOCKED, 'mlp_out').mean():.0%}. "
        f"Another answer of the relation: {number(rival.control)} (difference {interval(rival)}); random directions: "
        f"{number(random.control)} (difference {interval(random)})."
    )


def _rates(name: str, way: str, table: pd.DataFrame, seed: int) -> Grid:
    states = {
        "intact": (INTACT, "answer"),
        "subject blocked": (BLOCKED, "answer"),
        "rival answer": (INTACT, "rival"),
        "random update": (RANDOM, "answer"),
    }
    rows = []
    for label, (state, column) in states.items():
        for kind, sublayer in NAMES.items():
            mean = bootstrap_mean(extracted(table, state, kind, column), seed=seed)
            text = f"{mean.value:.0%} [{mean.low:.0%}, {mean.high:.0%}]"
            rows.append({"x": sublayer, "y": label, "value": mean.value, "text": text})
    return Grid(
        name=f"extraction-{way.replace(' ', '-')}-{name}",
        title=f"Who says the answer, {name}",
        x_label=f"sublayer of any block, {way}",
        y_label="network",
        value_label="share of facts",
        table=pd.DataFrame(rows),
        note=f"n = {table['fact'].nunique()} facts, 95 % bootstrap intervals. Rival: another answer of the relation, "
        "in the intact network.",
        limits=(0.0, 1.0),
    )


def _blocks(name: str, way: str, table: pd.DataFrame) -> Profile:
    rows = []
    for state, kind, label in (
        (INTACT, "attn_out", "attention"),
        (INTACT, "mlp_out", "MLP"),
        (BLOCKED, "attn_out", "attention, subject blocked"),
    ):
        chosen = table[(table["state"] == state) & (table["kind"] == kind)].groupby("block")["answer"].mean()
        rows += [{"x": block, "value": value, "series": label} for block, value in chosen.items()]
    return Profile(
        name=f"extraction-blocks-{way.replace(' ', '-')}-{name}",
        title=f"Where the answer is said, {name}, {way}",
        x_label="block",
        y_label="share of facts",
        table=pd.DataFrame(rows),
        note=f"n = {table['fact'].nunique()} facts, last token.",
    )
