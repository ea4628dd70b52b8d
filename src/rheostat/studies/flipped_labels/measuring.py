"""How the queries of every set of texts are answered in every setting: one table per model, and arrays over streams."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from rheostat.engine.cells import Cell
from rheostat.metrics.statistics import Values
from rheostat.metrics.tokens import LogitDifference
from rheostat.model import Model
from rheostat.studies.flipped_labels.prompts import labels_of, prompts_of
from rheostat.studies.flipped_labels.settings import KS, KS_QUICK, Setting, settings
from rheostat.studies.flipped_labels.streams import Stream, streams
from rheostat.studies.flipped_labels.texts import TEXT_SETS, TextSet
from rheostat.studies.part import Tables, step_params
from rheostat.studies.study import Context
from rheostat.sweeps.sweep import sweep
from rheostat.tasks.format import INPUT

N_STREAMS, N_STREAMS_QUICK = 12, 4
N_QUERIES = 4
QUICK_SETS = ("words", "titles")


def text_sets(*, quick: bool) -> tuple[str, ...]:
    """Return the names of the sets of texts that are asked."""
    return QUICK_SETS if quick else tuple(TEXT_SETS)


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per set of texts, setting and query.

    Columns: texts, setting, k, words, share, stream, query, side (its own class, 0 or 1) and margin: how much likelier
    the word of class 1 is than that of class 0, in nats.
    """
    tables = []
    for name in text_sets(quick=context.quick):
        texts, listed = TEXT_SETS[name](), settings(quick=context.quick)
        k, n = (KS_QUICK[-1], N_STREAMS_QUICK) if context.quick else (KS[-1], N_STREAMS)
        drawn = streams(texts, n, k=k, n_queries=N_QUERIES, seed=context.seed)
        for setting in context.progress(listed, f"asking {name}, {model.name}"):
            asked = partial(answers, model, texts, drawn, setting, seed=context.seed)
            shown = [[vars(one) for one in (*stream.shown, *stream.queries)] for stream in drawn]
            params = step_params(model, context, setting=vars(setting), shown=shown, labels=labels_of(texts, setting))
            table = context.step(f"answers-{name}-{setting.name}-{model.name}", params, asked)
            table = table.assign(texts=name, setting=setting.name, k=setting.k, words=setting.words)
            tables.append(table.assign(share=setting.share))
    return pd.concat(tables, ignore_index=True)


def answers(model: Model, texts: TextSet, drawn: Sequence[Stream], setting: Setting, *, seed: int) -> pd.DataFrame:
    """Return one row per query: columns stream, query, side, margin (nats, towards class 1)."""
    rows, places = [], []
    for number, stream in enumerate(drawn):
        rows += prompts_of(model, texts, stream, setting, seed=seed + 1000 * number)
        asked = enumerate(stream.queries)
        places += [{"stream": number, "query": place, "side": one.side} for place, one in asked]
    none, one = (INPUT.lead + label for label in labels_of(texts, setting))
    found = sweep(model, rows, [Cell((), {})], LogitDifference(one, none), progress=False)
    return pd.DataFrame(places).assign(margin=found.sort_values("prompt")["logit_difference"].to_numpy())


class Answers:
    """The answers of one model to one set of texts, setting by setting, as arrays over streams."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._signed: dict[str, Values] = {}
        self._sides: dict[str, Values] = {}
        for name, rows in table.groupby("setting", sort=False):
            wide = rows.pivot(index="stream", columns="query", values=["margin", "side"])
            self._signed[str(name)] = wide["margin"].to_numpy(dtype=np.float64)
            self._sides[str(name)] = wide["side"].to_numpy(dtype=np.float64)

    def right(self, setting: Setting) -> Values:
        """Return, per stream, the share of queries answered by the word of their own class; a tie counts half."""
        return _accuracy(self._signed[setting.name], self._sides[setting.name])

    def calibrated(self, setting: Setting) -> Values:
        """Return the same with the words' prior taken off: the mean margin of the other streams' queries."""
        margins = self._signed[setting.name]
        n = len(margins)
        prior = (margins.mean(axis=1).sum() - margins.mean(axis=1)) / (n - 1)
        return _accuracy(margins - prior[:, None], self._sides[setting.name])


def _accuracy(margins: Values, sides: Values) -> Values:
    towards = np.sign(margins) * (2 * sides - 1)
    found: Values = ((towards + 1) / 2).mean(axis=1)
    return found


Asked = Mapping[tuple[str, str], Answers]
"""Model and set of texts → its answers."""


def by_texts(tables: Tables) -> Asked:
    """Return the answers of every model to every set of texts."""
    return {
        (model, str(name)): Answers(rows)
        for model, table in tables.items()
        for name, rows in table.groupby("texts", sort=False)
    }
