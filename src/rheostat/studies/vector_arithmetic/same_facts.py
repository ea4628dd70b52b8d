"""Which sublayer brings the answer: what each says, and what patching each from another fact costs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from rheostat.edit.patching import Replace
from rheostat.metrics.statistics import Values
from rheostat.metrics.tokens import LogitDifference
from rheostat.model import Model
from rheostat.studies.part import step_params
from rheostat.studies.recall.enrichment import NORMED, PLAIN
from rheostat.studies.study import Context
from rheostat.studies.vector_arithmetic.fact_versions import ABSTRACTIVE, Version
from rheostat.studies.vector_arithmetic.knowing import answered, asked_versions
from rheostat.studies.vector_arithmetic.knowing import measure as read_versions
from rheostat.tracing.extraction import SUBLAYERS, said, sublayer_updates

N_FACTS, N_FACTS_QUICK = 40, 6


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per fact, kind of sublayer and block.

    Columns: fact, kind, block; way and said: whether the update says the answer, decoded so; or effect: by how
    much the logit difference falls, in nats, when the update comes from another fact's prompt.
    """
    known = set(answered(read_versions(model, context), ABSTRACTIVE)["fact"])
    limit = N_FACTS_QUICK if context.quick else N_FACTS
    listed = [one for one in asked_versions(model, context) if one.version == ABSTRACTIVE and one.fact in known][:limit]

    def compute() -> pd.DataFrame:
        tables = []
        others = other_facts(listed)
        prompts = {one.fact: one.prompt for one in listed}
        for kind in SUBLAYERS if listed else ():
            updates = dict(zip(prompts, sublayer_updates(model, list(prompts.values()), kind=kind), strict=True))
            for one in listed:
                for way in (PLAIN, NORMED):
                    right = said(model, updates[one.fact], final_norm=way == NORMED) == one.answer
                    tables.append(_rows(one, kind, way=way, said=right.tolist()))
            for one in context.progress(
                [one for one in listed if one.fact in others], f"patching {kind}, {model.name}"
            ):
                other = others[one.fact]
                lost = patched(model, one, other, kind, list(updates[other.fact]))
                tables.append(_rows(one, kind, effect=lost))
        columns = ["fact", "kind", "block", "way", "said", "effect"]
        return (pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()).reindex(columns=columns)

    params = step_params(model, context, prompts=[one.prompt for one in listed])
    return context.step(f"sublayers-{model.name}", params, compute)


def other_facts(listed: Sequence[Version]) -> dict[int, Version]:
    """Return, per fact, the next one of its relation that has another answer; facts without one are left out."""
    found = {}
    for place, one in enumerate(listed):
        order = [*listed[place + 1 :], *listed[:place]]
        fits = (other for other in order if other.relation == one.relation and other.answer != one.answer)
        if (other := next(fits, None)) is not None:
            found[one.fact] = other
    return found


def patched(model: Model, one: Version, other: Version, kind: str, updates: Sequence[torch.Tensor]) -> list[float]:
    """Return, per block, by how much one patch lowers the logit of the answer less that of the other's, in nats.

    Args:
        model: the network.
        one: the fact whose prompt runs.
        other: the fact whose updates are put in.
        kind: of sublayer.
        updates: of the other prompt's last token, per block.
    """
    plans = [[Replace(f"blocks.{block}.{kind}", value, positions="last")] for block, value in enumerate(updates)]
    table = model.sweep(one.prompt, [(), *plans], LogitDifference(one.answer, other.answer), progress=False)
    values = table["logit_difference"].tolist()
    return [values[0] - value for value in values[1:]]


def _rows(one: Version, kind: str, **columns: object) -> pd.DataFrame:
    n = len(next(value for value in columns.values() if isinstance(value, list)))
    return pd.DataFrame({"fact": one.fact, "kind": kind, "block": range(n), **columns})


def extracted(table: pd.DataFrame, kind: str, way: str) -> Values:
    """Return, per fact, 1 if any block's update says the answer, else 0."""
    chosen = table[(table["kind"] == kind) & (table["way"] == way)]
    found: Values = np.asarray(chosen["said"].astype(float).groupby(chosen["fact"]).max(), dtype=np.float64)
    return found


def effects(table: pd.DataFrame, kind: str) -> Values:
    """Return the effects of patching, (fact, block)."""
    chosen = table[(table["kind"] == kind) & table["effect"].notna()]
    found: Values = chosen.pivot(index="fact", columns="block", values="effect").to_numpy(dtype=float)
    return found
