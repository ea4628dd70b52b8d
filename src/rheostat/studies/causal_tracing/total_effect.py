"""Does noise on the subject remove the answer, and does one restored state bring part of it back?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rheostat.base.shapes import Grid
from rheostat.metrics.statistics import Values, bootstrap_mean, paired_difference
from rheostat.studies.causal_tracing.facts import LAST, LAST_SUBJECT, ROLES
from rheostat.studies.causal_tracing.measuring import STRONG, WEAK, Traced
from rheostat.studies.halves import at_places, chosen_by_other_half
from rheostat.studies.judging import compared_all, held, judge, measurement, number
from rheostat.studies.part import Part, joined
from rheostat.studies.record import Measurement, Section, Verdict

CLAIM = "trace-1"
STATEMENT = (
    "Noise on the subject's embeddings removes a known fact, and putting back one hidden state restores part of it "
    "(probability .27 clean, .085 under noise, total effect .186 on GPT-2 XL)."
)
EXACT = 1e-4
"""How far the probability may lie from the clean one when everything is put back: float noise."""


def places(traced: Traced, *, with_last: bool) -> Values:
    """Return indirect effects of hidden states (fact, role × centre), without the last token or without its last block.

    The last token at the last block is the network's output: putting it back restores everything.
    """
    roles = [traced.indirect(role) for role in ROLES if role != LAST]
    if with_last:
        inner = [block < traced.n_blocks - 1 for block in traced.centres]
        roles.append(traced.indirect(LAST)[:, inner])
    return np.concatenate(roles, axis=1)


def measure_all(name: str, traced: Traced, seed: int) -> list[Measurement]:
    """Return the total effect and the best state's indirect effect, each against its controls."""
    totals = traced.totals
    total = "total effect on the answer's probability"
    found = [
        measurement(
            name,
            total,
            paired_difference(totals["total"].to_numpy(), control, seed=seed),
            control=float(control.mean()),
            unit="facts",
            control_name=what,
        )
        for what, control in (
            ("no noise", np.zeros(len(totals))),
            ("the same noise on as many other tokens", totals["elsewhere"].to_numpy()),
            ("noise of a third of the size", totals["weak"].to_numpy()),
        )
    ]
    for what, with_last in (("any token but the last", False), ("any token", True)):
        values = places(traced, with_last=with_last)
        best = at_places(values, chosen_by_other_half(values))
        known = np.isfinite(best)
        mean = np.nanmean(values, axis=1)[known]
        found.append(
            measurement(
                name,
                f"indirect effect of the best hidden state, {what}",
                paired_difference(best[known], mean, seed=seed),
                control=float(mean.mean()),
                unit="facts",
                control_name="the mean place",
            )
        )
    return found


def weak_effect(name: str, traced: Traced, seed: int) -> Measurement:
    """Return the indirect effect at the last subject token, at one chosen block, under strong and weak noise."""
    strong, weak = (traced.indirect(LAST_SUBJECT, noise=noise) for noise in (STRONG, WEAK))
    chosen = chosen_by_other_half(strong)
    return measurement(
        name,
        "indirect effect at the last subject token",
        paired_difference(at_places(strong, chosen), at_places(weak, chosen), seed=seed),
        control=float(at_places(weak, chosen).mean()),
        unit="facts",
        control_name="noise of a third of the size",
    )


def run(traced: Mapping[str, Traced], seed: int, *, planted_found: bool) -> Part:
    """Judge the claim."""
    every = {name: measure_all(name, one, seed) for name, one in traced.items()}
    weak = {name: weak_effect(name, one, seed) for name, one in traced.items()}
    deciding = [one for found in every.values() for one in found]
    error = {name: _restoration_error(one) for name, one in traced.items()}
    exact = all(value < EXACT for value in error.values())
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=planted_found and exact),
        reason=f"{held(deciding)} {_by_noise(traced)} With the whole stream put back, the probability is the clean one "
        f"within {number(max(error.values()))}. Block and token of the best state are chosen on one half of the facts "
        "and reported on the other.",
        measurements=(*deciding, *weak.values()),
    )
    figures = tuple(_example(name, one) for name, one in traced.items())
    section = Section(
        heading="Noise on the subject, and one state put back",
        text="\n\n".join(_describe(name, traced[name], every[name], weak[name], seed) for name in traced),
        figures=tuple(figure.name for figure in figures),
        tables=("total-effects",),
    )
    tables = {"total-effects": joined({name: one.totals for name, one in traced.items()})}
    return Part((section,), tables, figures, (verdict,))


def _by_noise(traced: Mapping[str, Traced]) -> str:
    said = [
        f"{number(one.totals['weak'].mean())} and {number(one.totals['total'].mean())} on {name}"
        for name, one in traced.items()
    ]
    return f"Noise of {WEAK:g} and of {STRONG:g} standard deviations takes {'; '.join(said)}."


def _restoration_error(traced: Traced) -> float:
    return float((traced.totals["all_back"] - traced.totals["clean"]).abs().max())


def _describe(name: str, traced: Traced, found: list[Measurement], weak: Measurement, seed: int) -> str:
    totals = traced.totals
    several = int((totals["subject_tokens"] > 1).sum())
    clean, corrupted = (bootstrap_mean(totals[column].to_numpy(), seed=seed) for column in ("clean", "corrupted"))
    return (
        f"{name}, {len(totals)} facts that it answers correctly, {several} with subjects of several tokens; noise of "
        f"standard deviation {number(traced.noise_std)}, draws per fact: {traced.draws}. Probability of the answer: "
        f"clean {clean}; under noise {corrupted}. {compared_all([*found, weak])}"
    )


def _example(name: str, traced: Traced) -> Grid:
    """Return the well-known picture for the fact with the largest total effect."""
    fact = traced.totals.sort_values("total").iloc[-1]
    rows = traced.rows()
    here = rows[rows["fact"] == fact["fact"]].sort_values(["position", "block"])
    starred = here["subject"].map({True: "*", False: ""})
    return Grid(
        name=f"example-{name}",
        title=f"One hidden state put back at a time, {name}",
        x_label="block",
        y_label="token (*: noised)",
        value_label=f"probability of {fact['answer']}",
        table=pd.DataFrame(
            {
                "x": here["block"],
                "y": here["position"].astype(str) + " " + here["token"] + starred,
                "value": here["probability"].round(3),
            }
        ).reset_index(drop=True),
        note=f"“{fact['prompt']}”, the fact with the largest total effect: clean {fact['clean']:.3f}, under noise "
        f"{fact['corrupted']:.3f}. "
        "n = 1 prompt. Tokens before the subject are left out: nothing there depends on the noise.",
    )
