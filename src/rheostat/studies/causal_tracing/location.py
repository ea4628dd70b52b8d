"""Where are the states that bring the answer back? Over tokens and over depth."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Grid, Profile
from rheostat.metrics.statistics import Values, bootstrap_mean, paired_difference
from rheostat.studies.causal_tracing.facts import (
    FIRST,
    FURTHER,
    LAST,
    LAST_SUBJECT,
    MIDDLE,
    NEXT,
    ROLES,
    UNNAMED,
)
from rheostat.studies.causal_tracing.measuring import Traced
from rheostat.studies.curve import curve
from rheostat.studies.halves import at_places, chosen_by_other_half
from rheostat.studies.judging import compared_all, held, judge, measurement, number
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict

CLAIM = "trace-2"
STATEMENT = (
    "The states that restore a fact cluster at the last subject token in early to middle layers, and again at the "
    "last token late."
)
RIVALS = (FIRST, NEXT, FURTHER, UNNAMED)
ROWS = {
    FIRST: "subject, first",
    MIDDLE: "subject, middle",
    LAST_SUBJECT: "subject, last",
    NEXT: "next after it",
    FURTHER: "further",
    LAST: "last",
}
"""Labels that fit a map's margin."""
KINDS = {"resid_post": "hidden state", "mlp_out": "MLP window", "attn_out": "attention window"}


def against_roles(name: str, traced: Traced, seed: int) -> list[Measurement]:
    """Return the last subject token at its best block against each other role at its own, and a token drawn at random.

    Blocks are chosen on one half of the facts and reported on the other, the rivals' too.
    """
    own = traced.indirect(LAST_SUBJECT)
    best = at_places(own, chosen_by_other_half(own))
    rivals = {role: traced.indirect(role) for role in RIVALS}
    rivals["a token drawn at random"] = drawn_tokens(traced, seed)
    found = []
    for role, values in rivals.items():
        has = np.isfinite(values).all(axis=1)
        if has.sum() < 4:
            continue
        rival = at_places(values[has], chosen_by_other_half(values[has]))
        found.append(
            measurement(
                name,
                "indirect effect at the last subject token, best block",
                paired_difference(best[has], rival, seed=seed),
                control=float(rival.mean()),
                unit="facts",
                control_name=f"{role} at its own best block",
            )
        )
    return found


def drawn_tokens(traced: Traced, seed: int) -> Values:
    """Return indirect effects (fact, centre) of one token per fact, neither the subject's last nor the prompt's."""
    rows = traced.rows()
    rng = np.random.default_rng(seed)
    values = []
    for fact in traced.totals["fact"]:
        others = rows[(rows["fact"] == fact) & ~rows["role"].isin([LAST_SUBJECT, LAST, UNNAMED])]
        position = rng.choice(np.unique(others["position"]))
        values.append(others[others["position"] == position].sort_values("block")["indirect_effect"].to_numpy())
    return np.stack(values)


def over_depth(name: str, traced: Traced, seed: int) -> list[Measurement]:
    """Return where in depth each of the two sites lies: early at the last subject token, late at the last token.

    The last block is left out: there the last token is the output, and nothing else matters.
    """
    blocks = np.array(traced.centres)
    early, late = blocks < traced.n_blocks / 2, (blocks >= traced.n_blocks / 2) & (blocks < traced.n_blocks - 1)
    subject, last = traced.indirect(LAST_SUBJECT), traced.indirect(LAST)
    sides = (
        ("last subject token, first half of the blocks", subject[:, early], subject[:, late], "the second half"),
        ("last token, second half of the blocks", last[:, late], last[:, early], "the first half"),
    )
    return [
        measurement(
            name,
            f"mean indirect effect at the {what}",
            paired_difference(here.mean(axis=1), there.mean(axis=1), seed=seed),
            control=float(there.mean()),
            unit="facts",
            control_name=control,
        )
        for what, here, there, control in sides
    ]


def run(traced: Mapping[str, Traced], seed: int, *, planted_found: bool) -> Part:
    """Judge the claim."""
    every = {name: [*against_roles(name, one, seed), *over_depth(name, one, seed)] for name, one in traced.items()}
    deciding = [one for found in every.values() for one in found]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=planted_found),
        reason=f"{held(deciding)} {' '.join(_peaks(name, one) for name, one in traced.items())}",
        measurements=tuple(deciding),
    )
    figures: list[Figure] = []
    for name, one in traced.items():
        figures += [*_maps(name, one), _profile(name, one, LAST_SUBJECT, seed), _profile(name, one, LAST, seed)]
    section = Section(
        heading="Which tokens, at which depth",
        text="\n\n".join(f"{name}. {compared_all(found)}" for name, found in every.items()),
        figures=tuple(figure.name for figure in figures),
        tables=("indirect-effects",),
    )
    return Part((section,), {"indirect-effects": mean_effects(traced, seed)}, tuple(figures), (verdict,))


def mean_effects(traced: Mapping[str, Traced], seed: int) -> pd.DataFrame:
    """Return the average indirect effect of every place with its interval over facts.

    Rows {model, kind, role, block, n, indirect_effect, low, high}.
    """
    rows = []
    for name, one in traced.items():
        for kind in KINDS:
            for role in ROLES:
                for block, column in zip(one.centres, one.indirect(role, kind=kind).T, strict=True):
                    known = column[np.isfinite(column)]
                    if len(known) < 2:
                        continue
                    mean = bootstrap_mean(known, seed=seed)
                    place = {"model": name, "kind": kind, "role": role, "block": block, "n": len(known)}
                    rows.append({**place, "indirect_effect": mean.value, "low": mean.low, "high": mean.high})
    return pd.DataFrame(rows)


def _peaks(name: str, traced: Traced) -> str:
    means = [traced.indirect(LAST_SUBJECT, kind=kind).mean(axis=0) for kind in KINDS]
    said = ", ".join(
        f"{label} {number(float(mean.max()))} at block {traced.centres[int(mean.argmax())]}"
        for label, mean in zip(KINDS.values(), means, strict=True)
    )
    return f"Largest average indirect effects at the last subject token of {name} ({traced.n_blocks} blocks): {said}."


def _maps(name: str, traced: Traced) -> list[Grid]:
    """Return roles × blocks for each kind, on one colour scale."""
    means = {kind: {role: _mean(traced.indirect(role, kind=kind)) for role in ROLES} for kind in KINDS}
    every = np.concatenate([row for rows in means.values() for row in rows.values()])
    limits = (float(min(0.0, np.nanmin(every))), float(np.nanmax(every)))
    return [
        Grid(
            name=f"map-{kind}-{name}",
            title=f"Average indirect effect of each {label}, {name}",
            x_label="block" if kind == "resid_post" else "block (centre of the window)",
            y_label="token",
            value_label="indirect effect (probability)",
            table=pd.DataFrame(
                [
                    {"x": block, "y": ROWS[role], "value": round(float(value), 3)}
                    for role, row in means[kind].items()
                    for block, value in zip(traced.centres, row, strict=True)
                ]
            ),
            note=f"Mean over n = {len(traced.totals)} facts, of those that have the token; one colour scale for the "
            f"three maps of {name}.",
            limits=limits,
        )
        for kind, label in KINDS.items()
    ]


def _mean(values: Values) -> Values:
    """Return the mean over facts; NaN where no fact has the token."""
    known = values[np.isfinite(values).all(axis=1)]
    return known.mean(axis=0) if len(known) else np.full(values.shape[1], np.nan)


def _profile(name: str, traced: Traced, role: str, seed: int) -> Profile:
    rows: list[dict[str, object]] = []
    for kind, label in KINDS.items():
        rows += curve(label, zip(traced.centres, traced.indirect(role, kind=kind).T, strict=True), seed)
    return Profile(
        name=f"{role.replace(' ', '-')}-{name}",
        title=f"What brings the answer back at the {role}, {name}",
        x_label="block (of a window: its centre)",
        y_label="average indirect effect (probability)",
        table=pd.DataFrame(rows),
        note=f"n = {len(traced.totals)} facts, 95 % bootstrap intervals.",
        reference={"total effect": float(traced.totals["total"].mean()), "none": 0.0},
    )
