"""The strength found is the largest within the budget, as single runs confirm on planted cases."""

import math

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument
from rheostat.metrics.logits import kl_divergence
from rheostat.steering.budget import FACTOR, MOST_FACTORS, strength_for
from rheostat.steering.neutral import LONGEST, neutral_texts
from rheostat.steering.plan import at_strength
from tests.contract.conftest import load_toy

TEXTS = ["w5 w9 w30 w12 w7", "w44 w8 w9", "w17 w21 w60 w9 w33 w9 w4"]
VECTOR = torch.randn(16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def side_effects(model: rh.Model, plan: rh.Plan) -> tuple[float, float]:
    """Return KL per token and the perplexity ratio, from one run per text, token by token."""
    kl, loss, n_tokens = 0.0, 0.0, 0
    for text in TEXTS:
        ids = torch.tensor(model.encode(text))
        plain, steered = (model.run(text, edits, logits_at="all").logits[0].log_softmax(-1) for edits in (None, plan))
        kl += float((plain.exp() * (plain - steered)).sum())
        loss += float((plain - steered)[:-1].gather(-1, ids[1:, None]).sum())
        n_tokens += len(ids)
    return kl / n_tokens, math.exp(loss / (n_tokens - len(TEXTS)))


@pytest.mark.parametrize("edit", [rh.Add, rh.Piecewise])
@pytest.mark.parametrize(
    ("site", "measure", "budget"),
    [
        ("blocks.1.resid_post", "max_kl", 0.03),
        ("logits", "max_kl", 2.0),
        ("logits", "max_perplexity_ratio", 1.5),
    ],
)
def test_the_next_larger_strength_exceeds_the_budget(edit, site, measure, budget):
    model, plan = load_toy("llama"), rh.Plan((edit(site, VECTOR.repeat(4) if site == "logits" else VECTOR),))
    found = strength_for(model, plan, TEXTS, **{measure: budget}, tolerance=0.02)
    index = ("max_kl", "max_perplexity_ratio").index(measure)
    at = side_effects(model, at_strength(plan, found.strength))[index]
    assert at == pytest.approx(found.value, rel=1e-9)
    assert found.value <= budget
    assert found.exceeded
    tried = found.curve.set_index("strength")["kl" if index == 0 else "perplexity_ratio"]
    above = tried[tried.index > found.strength]
    assert above.index[0] <= found.strength * 1.02
    assert above.iloc[0] > budget
    assert side_effects(model, at_strength(plan, above.index[0]))[index] == pytest.approx(above.iloc[0], rel=1e-9)
    assert (found.n_texts, found.n_tokens) == (3, 15)
    assert found.curve["within"].tolist() == (tried <= budget).tolist()


def test_few_strengths_are_tried_where_the_side_effect_grows_with_the_square():
    found = strength_for(load_toy("llama"), rh.Add("blocks.1.resid_post", VECTOR), TEXTS, max_kl=0.01)
    assert len(found.curve) <= 1 + 4 + 2 * 3
    assert found.value == pytest.approx(0.01, rel=0.1)


def test_the_search_finds_strengths_far_from_the_first():
    model = load_toy("llama")
    found = [
        strength_for(model, rh.Add("blocks.1.resid_post", VECTOR * 2.0**scale), TEXTS, max_kl=0.1).strength
        for scale in (-13, 0, 13)
    ]
    assert found[0] == pytest.approx(found[1] * 2.0**13, rel=0.05)
    assert found[2] == pytest.approx(found[1] / 2.0**13, rel=0.05)


def test_a_side_effect_that_dips_is_said_and_the_first_crossing_counts():
    """Making the texts' own word likelier lowers perplexity at first; too much of it raises it."""
    model = load_toy("llama")
    word = torch.zeros(64, dtype=torch.float64)
    word[9] = 1.0
    found = strength_for(model, rh.Add("logits", word), TEXTS, max_perplexity_ratio=1.2, tolerance=0.005)
    assert found.curve["perplexity_ratio"].min() < 0.9
    assert not found.monotone and "first crossing" in str(found)
    assert found.value == pytest.approx(1.2, rel=0.05)
    risen = strength_for(model, rh.Add("logits", word), TEXTS, max_kl=0.5)
    assert risen.monotone and "first crossing" not in str(risen)


def test_a_budget_that_nothing_exceeds_or_meets_is_said():
    model = load_toy("llama")
    even = strength_for(model, rh.Add("logits", torch.ones(64)), TEXTS, max_kl=0.1)
    assert not even.exceeded and "no strength that was tried exceeds" in str(even)
    assert even.strength == even.curve["strength"].max() == FACTOR**MOST_FACTORS
    huge = strength_for(model, rh.Add("blocks.1.resid_post", VECTOR * 1e30), TEXTS, max_kl=1e-6)
    assert (huge.strength, huge.exceeded) == (0, True)
    assert huge.value == pytest.approx(0, abs=1e-12)


def test_written_tokens_are_those_after_the_first_and_nothing_fades_while_reading():
    model = load_toy("llama")
    written = rh.Add("blocks.1.resid_post", VECTOR, positions=rh.Positions.generated(2), decay=0.5)
    found = strength_for(model, written, TEXTS, max_kl=0.1)
    same = strength_for(model, rh.Add("blocks.1.resid_post", VECTOR, positions=slice(1, None)), TEXTS, max_kl=0.1)
    assert found.strength == same.strength
    assert found.strength != strength_for(model, rh.Add("blocks.1.resid_post", VECTOR), TEXTS, max_kl=0.1).strength


@pytest.mark.parametrize("n", [4, 24])
def test_an_edit_of_few_tokens_is_measured_from_these_on_however_long_the_texts_are(n):
    model = load_toy("llama")
    texts = [" ".join(f"w{4 + (7 * text + 3 * place) % 50}" for place in range(n)) for text in range(3)]
    for positions, reached in (("last", 1), (slice(-3, None), 3)):
        plan = rh.Plan((rh.Add("blocks.1.resid_post", VECTOR, positions=positions),))
        found = strength_for(model, plan, texts, max_kl=0.01)
        edits = at_strength(plan, found.strength)
        runs = [[model.run(text, one, logits_at="all").logits[0] for one in (None, edits)] for text in texts]
        kl = [float(kl_divergence(*run)[-reached:].mean()) for run in runs]
        assert found.value == pytest.approx(sum(kl) / 3, rel=1e-6)
        assert 0.008 < found.value <= 0.01 and found.exceeded
        assert found.n_tokens == 3 * reached
        assert found.curve["perplexity_ratio"].isna().all() == (reached == 1)


def test_no_ratio_of_perplexities_is_sought_where_no_token_is_predicted_behind_the_edit():
    last = rh.Add("blocks.1.resid_post", VECTOR, positions="last")
    with pytest.raises(BadArgument, match=r"max_perplexity_ratio=1.1: no token .* changes \(last\)"):
        strength_for(load_toy("llama"), last, TEXTS, max_perplexity_ratio=1.1)


def test_the_curve_has_intervals_and_is_a_figure():
    model = load_toy("llama")
    found = strength_for(model, rh.Add("blocks.1.resid_post", VECTOR), TEXTS, max_kl=0.1)
    shown = found.curve[found.curve["strength"] > 0]
    assert (shown["kl_low"] < shown["kl"]).all() and (shown["kl"] < shown["kl_high"]).all()
    profile = found.profile()
    assert profile.reference == {"budget": 0.1}
    assert profile.table["x"].max() <= 4 * found.strength
    alone = strength_for(model, rh.Add("blocks.1.resid_post", VECTOR), TEXTS[0], max_kl=0.1)
    assert alone.curve["kl_low"].isna().all()
    assert alone.to_dict()["strength"] == alone.strength


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give one budget"),
        ({"max_kl": 0.1, "max_perplexity_ratio": 1.1}, "give one budget"),
        ({"max_kl": 0.0}, "max_kl=0.0: nats above 0"),
        ({"max_kl": math.nan}, "max_kl=nan"),
        ({"max_perplexity_ratio": 0.9}, "above 1"),
        ({"max_kl": 0.1, "first": -1.0}, "first=-1.0"),
        ({"max_kl": 0.1, "tolerance": 0.0}, "tolerance=0.0"),
    ],
)
def test_budgets_that_say_nothing_are_refused(settings, message):
    with pytest.raises(BadArgument, match=message):
        strength_for(load_toy("llama"), rh.Add("final", VECTOR), TEXTS, **settings)


@pytest.mark.slow
def test_neutral_texts_are_sentences_of_every_topic():
    texts = neutral_texts(20)
    assert len(set(texts)) == 20
    assert all(text.endswith(".") and len(text) <= LONGEST for text in texts)
    assert neutral_texts(5) != texts[:5] or len(neutral_texts(5)) == 5
    with pytest.raises(BadArgument, match="n=0"):
        neutral_texts(0)
