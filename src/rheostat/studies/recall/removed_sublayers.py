"""Do the subject's words come from early MLPs? Removes sublayers and decodes the subject further up.

A broken network says fewer words of every kind, so each early removal of MLPs is also compared with the removal, of
anything but early MLPs, whose loss on neutral text is nearest.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rheostat.base.shapes import Profile
from rheostat.metrics.statistics import Values, bootstrap_mean
from rheostat.studies.curve import curve
from rheostat.studies.judging import against, held, interval, judge, measurement, number
from rheostat.studies.part import Part, joined
from rheostat.studies.recall.removals import (
    LARGER,
    NOTHING,
    RANDOM,
    WAYS,
    measure,
    reading_block,
    window_width,
)
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

CLAIM = "recall-4"
STATEMENT = "The enrichment comes from early MLPs: removing them makes the attributes rate collapse."
EARLY, LATE = 0.25, 0.5
"""A window is early when it starts in this first part of the blocks, late when it starts beyond the other."""
LEAST = 0.02
"""Rate beyond other subjects' words that there must be for its loss to be seen."""


Key = tuple[str, int]
"""Group and start of a removal."""


class Removed:
    """Rates of one model and way of decoding, per removal an array over subjects."""

    def __init__(self, table: pd.DataFrame, way: str, n_blocks: int) -> None:
        self.n_blocks = n_blocks
        chosen = table[table["way"] == way]
        self.rates: dict[Key, Values] = {}
        self.losses: dict[Key, float] = {}
        for one in chosen.drop_duplicates(["group", "start"]).to_dict("records"):
            rows = chosen[(chosen["group"] == one["group"]) & (chosen["start"] == one["start"])]
            self.rates[one["group"], int(one["start"])] = rows["own"].to_numpy(dtype=np.float64)
            self.losses[one["group"], int(one["start"])] = float(one["loss"])
        self.clean = self.rates[NOTHING, -1]

    def of(self, *groups: str) -> list[Key]:
        """Return the removals whose group begins so."""
        return [key for key in self.rates if key[0].startswith(groups)]

    def early(self, kind: str) -> list[Key]:
        """Return the early windows of a kind."""
        return [key for key in self.of(kind) if key[1] < EARLY * self.n_blocks]

    def late(self, kind: str) -> list[Key]:
        """Return the late windows of a kind."""
        return [key for key in self.of(kind) if key[1] >= LATE * self.n_blocks]

    def matched(self) -> list[Key]:
        """Return, per early window of MLPs, the removal of something else whose loss is nearest."""
        pool = [*self.of("attn_out", LARGER), *self.late("mlp_out")]
        early = [self.losses[key] for key in self.early("mlp_out")]
        return [min(pool, key=lambda key: abs(self.losses[key] - loss)) for loss in early]

    def drop(self, removals: Sequence[Key]) -> Values:
        """Return, per subject, how far the rate falls, as the mean over removals."""
        left = np.mean([self.rates[key] for key in removals], axis=0)
        found: Values = self.clean - left
        return found

    def loss(self, removals: Sequence[Key]) -> float:
        """Return the mean loss on neutral text."""
        return float(np.mean([self.losses[key] for key in removals]))


def measure_all(name: str, way: str, removed: Removed, seed: int) -> list[Measurement]:
    """Return the fall of the rate without early MLPs, against every control."""
    effect = removed.drop(removed.early("mlp_out"))
    controls = {
        "early attention removed": removed.early("attn_out"),
        "late MLPs removed": removed.late("mlp_out"),
        "as many MLPs of random blocks removed": removed.of(RANDOM),
        "other sublayers removed at like damage": removed.matched(),
    }
    drops = {control: removed.drop(chosen) for control, chosen in controls.items()}
    return against(name, f"fall without early MLPs, {way}", effect, drops, unit="subjects", seed=seed)


def to_lose(name: str, way: str, table: pd.DataFrame, seed: int) -> Measurement:
    """Return how far the intact network's rate lies above that of other subjects' words: what could be lost."""
    clean = table[(table["group"] == NOTHING) & (table["way"] == way)]
    return measurement(
        name,
        f"intact rate, {way}",
        bootstrap_mean((clean["own"] - clean["other"]).to_numpy(dtype=float), seed=seed),
        control=float(clean["other"].mean()),
        unit="subjects",
        control_name="other subjects' words",
    )


def run(context: Context) -> Part:
    """Remove the sublayers of all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    pairs = [(model, way) for model in context.models for way in WAYS]
    removed = {(m.name, way): Removed(tables[m.name], way, m.n_blocks) for m, way in pairs}
    found = {(name, way): measure_all(name, way, one, context.seed) for (name, way), one in removed.items()}
    present = {(name, way): to_lose(name, way, tables[name], context.seed) for name, way in removed}
    something = [key for key, one in present.items() if one.low > LEAST]
    deciding = [one for key in something for one in found[key]]
    named = judge(deciding, planted_found=bool(deciding))
    everywhere = {name for name, _ in something} == set(tables)
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=named if everywhere or named != "reproduced" else "partly",
        reason=f"{held(deciding)} A fall can only be seen where at least {LEAST:.0%} of the words could be lost: at "
        "the reading block the rate of the intact network minus that of other subjects' words is "
        + "; ".join(
            f"{number(one.effect - one.control)} {interval(one)} on {name}, {way}"
            for (name, way), one in present.items()
        )
        + ".",
        measurements=(*(one for ms in found.values() for one in ms), *present.values()),
    )
    figures = tuple(_figure(name, way, one, context.seed) for (name, way), one in removed.items())
    section = Section(
        heading="Subjects without some sublayers",
        text="\n\n".join(_describe(*key, one, found[key], present[key]) for key, one in removed.items()),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), {"removals": joined(tables)}, figures, (verdict,))


def _describe(name: str, way: str, removed: Removed, found: Sequence[Measurement], present: Measurement) -> str:
    early, matched = removed.early("mlp_out"), removed.matched()
    controls = "; ".join(f"{number(one.control)} {one.control_name}, difference {interval(one)}" for one in found)
    return (
        f"{name}, {way}, {len(removed.clean)} subjects; {window_width(removed.n_blocks)} of {removed.n_blocks} blocks "
        f"lose their MLP or attention, read at block {reading_block(removed.n_blocks)}. Rate of the intact network "
        f"{number(present.effect)}, with other subjects' words {number(present.control)}. Without early MLPs it falls "
        f"by {number(found[0].effect)}; controls: {controls}. Loss on neutral text: intact "
        f"{number(removed.losses[NOTHING, -1])}, without early MLPs {number(removed.loss(early))}, without "
        f"early attention {number(removed.loss(removed.early('attn_out')))}, matched {number(removed.loss(matched))} "
        "nats."
    )


def _figure(name: str, way: str, removed: Removed, seed: int) -> Profile:
    rows: list[dict[str, object]] = []
    for kind, label in (("mlp_out", "MLPs removed"), ("attn_out", "attention removed")):
        rows += curve(label, ((key[1], removed.rates[key]) for key in removed.of(kind)), seed)
    random = np.mean([removed.rates[key].mean() for key in removed.of(RANDOM)])
    return Profile(
        name=f"removals-{way.replace(' ', '-')}-{name}",
        title=f"Subjects without some sublayers, {name}, {way}",
        x_label=f"first of the {window_width(removed.n_blocks)} blocks",
        y_label=f"attributes rate at block {reading_block(removed.n_blocks)}",
        table=pd.DataFrame(rows),
        note=f"n = {len(removed.clean)} subjects, last subject token, 95 % bootstrap intervals.",
        reference={"intact": float(removed.clean.mean()), "MLPs of random blocks": float(random)},
    )
