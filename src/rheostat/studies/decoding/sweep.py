"""Sweeps of mixing: what each list of words does to its own target beyond control texts in the same place."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.decoding.mixing import SOURCES, Dial
from rheostat.studies.part import step_params
from rheostat.studies.study import Context

OTHERS, UNRELATED = "other lists", "unrelated words"
"""The two kinds of control texts."""


def measure_dials(
    model: Model,
    context: Context,
    name: str,
    *,
    factors: Mapping[str, Sequence[float]],
    blocks: Iterable[int],
    at_dial: Callable[[Dial], pd.DataFrame],
    inputs: Mapping[str, object],
) -> pd.DataFrame:
    """Return what `at_dial` measures at every block with every source and factor, one step for each of the two.

    `at_dial` returns the columns text, concept (empty for unrelated words), prompt and target, the dial's block, source
    and factor, and any measures. `factors` maps a source to the factors to try; `inputs` is all else that the tables
    depend on.
    """
    listed = list(blocks)
    jobs = [(source, factor) for source in SOURCES for factor in factors[source]]
    tables = []
    for source, factor in context.progress(jobs, f"mixing, {name}"):
        dials = [Dial(block, source, factor) for block in listed]

        def compute(dials: Sequence[Dial] = dials) -> pd.DataFrame:
            return pd.concat([at_dial(dial) for dial in dials], ignore_index=True)

        params = step_params(model, context, dials=[str(dial) for dial in dials], **inputs)
        tables.append(context.step(name, params, compute))
    return pd.concat(tables, ignore_index=True)


@dataclass(frozen=True)
class Sweep:
    """One model's mixings as arrays."""

    concepts: tuple[str, ...]
    """What the lists stand for: one list and one target each."""
    prompts: tuple[str, ...]
    dials: tuple[Dial, ...]
    own: tuple[int, ...]
    """Per concept, the row of its list among the texts."""
    unrelated: tuple[int, ...]
    """The rows of the unrelated words."""
    measures: Mapping[str, Values]
    """Measure → (text, concept, prompt, dial)."""

    @classmethod
    def of(cls, table: pd.DataFrame, *measures: str) -> "Sweep":
        """Unfold a long table of `measure_dials`."""
        factored = [pd.factorize(table[column]) for column in ("text", "target", "prompt")]
        texts, concepts, prompts = ([str(label) for label in labels] for _, labels in factored)
        dials = dials_of(table)
        dial_codes = table.groupby(["block", "source", "factor"], sort=False).ngroup().to_numpy()
        codes = (*(code for code, _ in factored), dial_codes)
        concept_of = dict(zip(table["text"], table["concept"], strict=True))
        arrays = {}
        for measure in measures:
            values = np.full((len(texts), len(concepts), len(prompts), len(dials)), np.nan)
            values[codes] = table[measure].to_numpy(dtype=float)
            arrays[measure] = values
        own = tuple(next(row for row, text in enumerate(texts) if concept_of[text] == one) for one in concepts)
        unrelated = tuple(row for row, text in enumerate(texts) if concept_of[text] == "")
        return cls(tuple(concepts), tuple(prompts), dials, own, unrelated, arrays)

    def own_values(self, measure: str) -> Values:
        """Return a measure for each list's own target, (list, prompt, dial)."""
        return np.stack([self.measures[measure][text, index] for index, text in enumerate(self.own)])

    def beyond(
        self, measure: str, lists: Sequence[int] | None = None, controls: Sequence[str] = (OTHERS, UNRELATED)
    ) -> Values:
        """Return each list's effect on its own target beyond the mean of the control texts', (list, prompt, dial).

        The other lists that serve as controls are taken from `lists`, too, so nothing of the rest enters.
        """
        chosen = range(len(self.concepts)) if lists is None else lists
        values, found = self.measures[measure], []
        for index in chosen:
            texts = [self.own[other] for other in chosen if other != index and OTHERS in controls]
            texts += self.unrelated if UNRELATED in controls else ()
            found.append(values[self.own[index], index] - values[texts, index].mean(axis=0))
        return np.stack(found)

    def best_dial(
        self,
        measure: str,
        lists: Sequence[int] | None = None,
        *,
        source: str | None = None,
        before: int | None = None,
    ) -> int:
        """Return the dial at which lists move their targets most beyond the controls, if asked below a block."""
        gain = self.beyond(measure, lists).mean(axis=(0, 1))
        allowed = [source in (None, dial.source) and (before is None or dial.block < before) for dial in self.dials]
        return int(np.where(allowed, gain, -np.inf).argmax())

    def held_out(
        self, measure: str, *, source: str | None = None, before: int | None = None
    ) -> list[tuple[int, list[int]]]:
        """Return the dial that each half of the lists chose, with the lists of the other half, to report on."""
        even, odd = list(range(0, len(self.concepts), 2)), list(range(1, len(self.concepts), 2))
        return [
            (self.best_dial(measure, choosing, source=source, before=before), reporting)
            for choosing, reporting in ((even, odd), (odd, even))
        ]

    def dial_of(self, measure: str, *, before: int | None = None) -> dict[str, Dial]:
        """Return, per concept, the dial that the other half of the lists chose."""
        chosen = {
            self.concepts[row]: self.dials[index]
            for index, reporting in self.held_out(measure, before=before)
            for row in reporting
        }
        return {concept: chosen[concept] for concept in self.concepts}

    def neighbour(self, index: int, step: int) -> int | None:
        """Return the same dial one block earlier (−1) or later (+1); None where that block was not tried."""
        here = self.dials[index]
        other = Dial(here.block + step, here.source, here.factor)
        return self.dials.index(other) if other in self.dials else None

    def alike(self, dial: Dial) -> list[int]:
        """Return the dials with this one's source and factor, by block."""
        same = [row for row, one in enumerate(self.dials) if (one.source, one.factor) == (dial.source, dial.factor)]
        return sorted(same, key=lambda row: self.dials[row].block)


def dials_of(table: pd.DataFrame) -> tuple[Dial, ...]:
    """Return the dials of a table with the columns block, source and factor, in order of appearance."""
    keys = table[["block", "source", "factor"]].drop_duplicates()
    columns = zip(keys["block"].tolist(), keys["source"].tolist(), keys["factor"].tolist(), strict=True)
    return tuple(Dial(int(block), str(source), float(factor)) for block, source, factor in columns)
