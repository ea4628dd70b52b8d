"""Planted cases: noise that enters at one sublayer's output, so that restoring exactly this one must bring all back."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rheostat.metrics.statistics import Interval, Values, bootstrap_mean
from rheostat.model import Model
from rheostat.studies.causal_tracing.facts import names, traced_facts
from rheostat.studies.causal_tracing.measuring import centres
from rheostat.studies.halves import at_places, chosen_by_other_half
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Section
from rheostat.studies.study import Context
from rheostat.tracing.causal_tracing import causal_trace, subject_std
from rheostat.tracing.restoration import SUBLAYERS

N_FACTS, N_FACTS_QUICK = 12, 4
STRENGTH = 20.0
"""Planted noise, in standard deviations of what the sublayer adds at subjects' last tokens."""


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return rows {fact, planted, kind, block, indirect_effect, total} at the last subject token.

    `planted` is the sublayer of a block at a quarter of the depth whose output got the noise.
    """
    facts = traced_facts(model, N_FACTS_QUICK if context.quick else N_FACTS, seed=context.seed)
    planted_block = model.n_blocks // 4
    blocks = centres(model.n_blocks, quick=context.quick)

    def compute() -> pd.DataFrame:
        prompts, subjects = [list(one.tokens) for one in facts], [one.subject[-1:] for one in facts]
        tables = []
        for planted in SUBLAYERS:
            noise_at = f"blocks.{planted_block}.{planted}"
            std = STRENGTH * subject_std(model, prompts, subjects, site=noise_at)
            for number, (known, prompt, subject) in enumerate(zip(facts, prompts, subjects, strict=True)):
                for kind in SUBLAYERS:
                    found = causal_trace(
                        model,
                        prompt,
                        subject=subject,
                        answer=known.answer,
                        kind=kind,
                        positions=subject,
                        blocks=blocks,
                        noise_std=std,
                        noise_at=noise_at,
                        draws=1,
                        seed=context.seed,
                    )
                    table = found.table[["block", "indirect_effect"]]
                    tables.append(table.assign(fact=number, planted=planted, kind=kind, total=found.total_effect))
        return pd.concat(tables, ignore_index=True)

    params = step_params(model, context, facts=names(facts), block=planted_block, strength=STRENGTH, centres=blocks)
    return context.step(f"planted-{model.name}", params, compute)


def difference(table: pd.DataFrame, planted: str, seed: int) -> Interval:
    """Return the planted sublayer's window minus the other's, where the other half of the facts has the largest sum."""
    (other,) = (kind for kind in SUBLAYERS if kind != planted)
    own, rival = (_wide(table, planted, kind) for kind in (planted, other))
    return bootstrap_mean(at_places(own - rival, chosen_by_other_half(own + rival)), seed=seed)


def run(tables: Mapping[str, pd.DataFrame], seed: int) -> tuple[bool, Part]:
    """Return whether both planted sublayers are found on every model, and what to show of it."""
    found = {
        (name, planted): difference(table, planted, seed) for name, table in tables.items() for planted in SUBLAYERS
    }
    said = [
        f"{name}, noise in one {planted}: that sublayer's window minus the other's {interval}; the noise takes "
        f"{tables[name].loc[tables[name]['planted'] == planted, 'total'].mean():.3f} of the answer's probability."
        for (name, planted), interval in found.items()
    ]
    section = Section(
        heading="Planted cases",
        text="Would the measures find the sublayer that carries a fact? Noise that enters at one sublayer's output of "
        "one block, at the last subject token, is undone by putting back exactly that output.\n\n" + "\n\n".join(said),
        tables=("planted",),
    )
    return all(one.above_zero for one in found.values()), Part((section,), {"planted": joined(tables)})


def _wide(table: pd.DataFrame, planted: str, kind: str) -> Values:
    here = table[(table["planted"] == planted) & (table["kind"] == kind)]
    return np.asarray(here.pivot(index="fact", columns="block", values="indirect_effect"), dtype=np.float64)
