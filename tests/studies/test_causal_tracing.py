"""The study of causal tracing finds the pattern of the paper where it is planted, and not where it is not."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from rheostat.data.facts import Fact
from rheostat.studies.causal_tracing import location, planted, sublayers, total_effect
from rheostat.studies.causal_tracing.facts import (
    FIRST,
    FURTHER,
    LAST,
    LAST_SUBJECT,
    MIDDLE,
    NEXT,
    ROLES,
    UNNAMED,
    elsewhere,
    role,
    without_subject,
)
from rheostat.studies.causal_tracing.measuring import NO_ATTENTION, NO_MLP, STRONG, WEAK, WHOLE, Traced, centres
from rheostat.studies.halves import at_places, chosen_by_other_half
from rheostat.studies.known_facts import KnownFact
from tests.contract.conftest import load_toy

N_BLOCKS, N_FACTS = 10, 24
KNOWN = KnownFact(Fact("state", "p", "s", " a"), (1, 9, 20, 21, 22, 30, 31, 32, 33), (2, 3, 4), 7, 0.9)

Effect = Callable[[str, str, str, float, int], float]
"""(role, kind, severed, noise, block) → the planted indirect effect."""


def as_in_the_paper(where: str, kind: str, severed: str, noise: float, block: int) -> float:
    size = 0.3 if noise == STRONG else 0.05
    if where == LAST_SUBJECT and block < 5:
        if severed == NO_MLP or kind == "attn_out":
            return 0.02
        return 0.8 * size if severed == NO_ATTENTION else size
    if where == LAST and block > 5:
        return 0.02 if kind == "mlp_out" else size
    return 0.0


def nothing(where: str, kind: str, severed: str, noise: float, block: int) -> float:
    return 0.0


def mirrored(where: str, kind: str, severed: str, noise: float, block: int) -> float:
    """The paper's pattern with MLP and attention exchanged."""
    other = {"mlp_out": "attn_out", "attn_out": "mlp_out"}
    return as_in_the_paper(where, other.get(kind, kind), other.get(severed, severed), noise, block)


def traced(effect: Effect, *, weak: float = 0.02, seed: int = 0) -> Traced:
    rng = np.random.default_rng(seed)
    asked = [(STRONG, kind, WHOLE, ROLES) for kind in ("resid_post", "mlp_out", "attn_out")]
    asked += [(STRONG, "resid_post", severed, (LAST_SUBJECT,)) for severed in (NO_MLP, NO_ATTENTION)]
    asked += [(WEAK, "resid_post", WHOLE, (LAST_SUBJECT,))]
    rows = []
    for fact in range(N_FACTS):
        for noise, kind, severed, roles in [*asked, (STRONG, "resid_post", WHOLE, (UNNAMED,))]:
            for position, where in enumerate(roles):
                if fact % 4 == 3 and where in (FIRST, MIDDLE):
                    continue
                for block in range(N_BLOCKS):
                    value = effect(where, kind, severed, noise, block) + rng.normal(0, 0.01)
                    place = {"fact": fact, "noise": noise, "kind": kind, "severed": severed, "role": where}
                    shown = {"token": "w", "subject": position < 3, "probability": value}
                    rows.append({**place, **shown, "position": position, "block": block, "indirect_effect": value})
    size = 0.3 if effect is not nothing else 0.0
    total = size + rng.normal(0, 0.01, N_FACTS)
    totals = pd.DataFrame({"fact": range(N_FACTS), "relation": "r", "prompt": "p", "answer": "a", "subject_tokens": 3})
    totals = totals.assign(clean=0.5, corrupted=0.5 - total, all_back=0.5, total=total)
    totals = totals.assign(weak=weak + rng.normal(0, 0.01, N_FACTS), elsewhere=rng.normal(0, 0.01, N_FACTS))
    return Traced(pd.DataFrame(rows), totals, N_BLOCKS, 0.3, 2)


@pytest.mark.parametrize("part", [total_effect, location, sublayers])
def test_the_pattern_of_the_paper_is_reproduced_where_it_is_planted(part):
    (verdict,) = part.run({"one": traced(as_in_the_paper)}, 0, planted_found=True).verdicts
    assert verdict.verdict == "reproduced"
    assert all(one.n >= 12 for one in verdict.measurements)


@pytest.mark.parametrize("part", [total_effect, location, sublayers])
def test_nothing_is_found_where_nothing_is(part):
    found = traced(nothing, weak=0.0)
    (verdict,) = part.run({"one": found}, 0, planted_found=True).verdicts
    assert verdict.verdict == "not"
    (blind,) = part.run({"one": found}, 0, planted_found=False).verdicts
    assert blind.verdict == "not testable here"


def test_attention_in_the_place_of_mlps_contradicts():
    (verdict,) = sublayers.run({"one": traced(mirrored)}, 0, planted_found=True).verdicts
    assert verdict.verdict == "contradicted"


def test_weak_noise_that_takes_as_much_is_said():
    (verdict,) = total_effect.run({"one": traced(as_in_the_paper, weak=0.3)}, 0, planted_found=True).verdicts
    assert verdict.verdict == "partly"
    assert "Noise of 1 and of 3 standard deviations takes 0.303 and 0.301" in verdict.reason


def test_a_stream_put_back_that_does_not_give_the_clean_answer_spoils_the_power():
    broken = traced(nothing, weak=0.0)
    shifted = broken.totals.assign(all_back=0.4)
    (verdict,) = total_effect.run(
        {"one": Traced(broken.effects, shifted, N_BLOCKS, 0.3, 2)}, 0, planted_found=True
    ).verdicts
    assert verdict.verdict == "not testable here"
    assert "within 0.1" in verdict.reason


def test_the_best_place_is_never_the_output_itself():
    def only_the_output(where: str, kind: str, severed: str, noise: float, block: int) -> float:
        return 0.3 if where == LAST and block == N_BLOCKS - 1 else 0.0

    found = total_effect.measure_all("one", traced(only_the_output), 0)
    best = [one for one in found if one.quantity.startswith("indirect effect of the best")]
    assert len(best) == 2
    assert all(abs(one.effect) < 0.02 for one in best)


def test_the_planted_sublayer_must_be_found_in_both_kinds():
    rows = [
        {"fact": fact, "planted": where, "kind": kind, "block": block, "total": 0.3}
        | {"indirect_effect": 0.3 * (kind == where and block == 2)}
        for fact in range(8)
        for where in ("attn_out", "mlp_out")
        for kind in ("attn_out", "mlp_out")
        for block in range(5)
    ]
    table = pd.DataFrame(rows)
    found, _ = planted.run({"one": table}, 0)
    assert found
    missed = table.assign(indirect_effect=table["indirect_effect"] * (table["planted"] == "mlp_out"))
    found, _ = planted.run({"one": missed}, 0)
    assert not found


# --- facts and choices ------------------------------------------------------------------------------------------------


def test_every_token_from_the_subject_on_has_a_role():
    assert [role(KNOWN, position) for position in range(2, 9)] == [
        FIRST,
        MIDDLE,
        LAST_SUBJECT,
        NEXT,
        FURTHER,
        FURTHER,
        LAST,
    ]
    single = KnownFact(KNOWN.fact, KNOWN.tokens, (4,), 7, 0.9)
    assert role(single, 4) == LAST_SUBJECT


def test_noise_elsewhere_takes_as_many_tokens_and_spares_subject_special_and_last():
    model = load_toy("llama")
    seen = {elsewhere(model, KNOWN, seed=seed) for seed in range(30)}
    assert all(len(one) == 3 for one in seen)
    assert {position for one in seen for position in one} == {1, 5, 6, 7}
    assert elsewhere(model, KNOWN, seed=3) == elsewhere(model, KNOWN, seed=3)


def test_a_prompt_without_its_subject_is_as_long_and_differs_only_there(monkeypatch):
    model = load_toy("llama")
    monkeypatch.setattr(type(model), "token_id", lambda self, text: 40)
    unnamed = without_subject(model, KNOWN)
    assert unnamed.tokens == (1, 9, 40, 40, 40, 30, 31, 32, 33)
    assert unnamed.answer == int(model.run([list(unnamed.tokens)]).logits[0, -1].argmax()) != KNOWN.answer


@pytest.mark.parametrize(("n_blocks", "n"), [(30, 10), (18, 9), (10, 10), (3, 3), (1, 1)])
def test_about_ten_blocks_are_put_back(n_blocks, n):
    assert len(centres(n_blocks, quick=False)) == n
    assert centres(n_blocks, quick=False)[0] == 0


def test_a_place_is_chosen_on_the_other_half():
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 1, (40, 200))
    assert abs(at_places(scores, chosen_by_other_half(scores)).mean()) < 0.5
    assert scores.mean(axis=0).max() > 0.35  # choosing and reporting on the same units would have shown an effect
    scores[:, 7] += 3
    scores[::3, 9] = np.nan
    assert set(chosen_by_other_half(scores)) == {7}
