"""What is said of a row of logits is what a computation by hand says."""

import math

import pytest
import torch

from rheostat.base.errors import BadArgument
from rheostat.metrics import logits as of
from rheostat.metrics.score import patching_score

ROW = [2.0, -1.0, 0.5, 2.0]
WEIGHTS = [math.exp(one) for one in ROW]
CHANCES = [one / sum(WEIGHTS) for one in WEIGHTS]
LOGITS = torch.tensor([ROW], dtype=torch.float64)


def test_the_values_of_one_token_are_those_computed_by_hand():
    assert of.logit_difference(LOGITS, 2, 1).item() == 1.5
    assert of.probability(LOGITS, 2).item() == pytest.approx(CHANCES[2], rel=1e-14)
    assert of.log_probability(LOGITS, 1).item() == pytest.approx(math.log(CHANCES[1]), rel=1e-14)


def test_a_rank_counts_from_1_and_ties_share_the_better_one():
    assert [of.rank(LOGITS, token).item() for token in range(4)] == [1, 4, 3, 1]


def test_an_answer_is_right_where_greedy_decoding_would_write_it():
    verdicts = [of.among(LOGITS, tokens).item() for tokens in ([0], [3], [1, 2], [1, 0])]
    assert verdicts == [1, 0, 0, 1]
    tied = torch.randint(3, (200, 6), generator=torch.Generator().manual_seed(0)).float()
    written = tied.argmax(-1)
    for token in range(6):
        assert torch.equal(of.among(tied, [token]), (written == token).float())
    assert torch.equal(of.among(tied, [1, 4]), ((written == 1) | (written == 4)).float())
    assert (tied == tied.amax(-1, keepdim=True)).sum(-1).float().mean() > 1.5, "most rows are tied at the top"


def test_surprise_is_the_negative_log_of_each_targets_chance():
    found = of.surprise(LOGITS.expand(2, 3, 4), torch.tensor([0, 1, 2]))
    expected = [-math.log(CHANCES[token]) for token in (0, 1, 2)]
    assert found.tolist() == [pytest.approx(expected)] * 2


def test_the_divergence_is_the_sum_by_hand_and_not_symmetric():
    other = torch.tensor([[0.0, 1.0, 0.0, -2.0]], dtype=torch.float64)
    q = [math.exp(one) / sum(math.exp(x) for x in other[0].tolist()) for one in other[0].tolist()]
    forward = sum(p * math.log(p / r) for p, r in zip(CHANCES, q, strict=True))
    backward = sum(r * math.log(r / p) for p, r in zip(CHANCES, q, strict=True))
    assert of.kl_divergence(LOGITS, other).item() == pytest.approx(forward, rel=1e-12)
    assert of.kl_divergence(other, LOGITS).item() == pytest.approx(backward, rel=1e-12)
    assert abs(forward - backward) > 0.1
    assert of.kl_divergence(LOGITS, LOGITS + 7).item() == pytest.approx(0, abs=1e-14)


def test_a_token_that_is_ruled_out_adds_nothing_before_and_everything_after():
    without = LOGITS.clone()
    without[0, 1] = -torch.inf
    assert of.kl_divergence(without, LOGITS).item() == pytest.approx(-math.log(1 - CHANCES[1]))
    assert of.kl_divergence(LOGITS, without).item() == math.inf


def test_a_chance_that_rounds_to_0_adds_nothing_and_rounding_never_gives_less_than_0():
    sure = torch.tensor([0.0, -200.0])
    assert of.kl_divergence(sure, torch.tensor([0.0, -torch.inf])).item() == 0
    rows = torch.randn(200, 300, generator=torch.Generator().manual_seed(0))
    found = of.kl_divergence(rows, rows * (1 + 1e-6))
    assert (found >= 0).all()
    plain = (rows.log_softmax(-1).exp() * (rows.log_softmax(-1) - (rows * (1 + 1e-6)).log_softmax(-1))).sum(-1)
    assert (plain < 0).any(), "the control: float32 itself falls below 0"


@pytest.mark.parametrize(
    "value",
    [
        lambda logits: of.rank(logits, 0),
        lambda logits: of.among(logits, [0]),
        lambda logits: of.log_probability(logits, 0),
        lambda logits: of.kl_divergence(logits, LOGITS),
    ],
)
def test_a_nan_among_the_logits_is_never_a_number(value):
    broken = LOGITS.clone()
    broken[0, 2] = torch.nan
    assert not value(LOGITS).isnan().any()
    assert value(broken).isnan().all()


def test_narrow_logits_are_summed_in_float32():
    narrow = torch.zeros(1, 5000, dtype=torch.bfloat16)
    assert of.log_probability(narrow, 0).item() == pytest.approx(-math.log(5000), abs=1e-5)
    assert abs(float(narrow.log_softmax(-1)[0, 0]) + math.log(5000)) > 1e-3  # what bfloat16 itself would say


def test_the_score_is_0_for_the_corrupted_run_and_1_for_the_clean_one():
    assert patching_score(-6.0, clean=4.0, corrupted=-6.0) == 0
    assert patching_score(4.0, clean=4.0, corrupted=-6.0) == 1
    assert patching_score([1.0, 9.0], clean=[4.0, 5.0], corrupted=[-6.0, 3.0]).tolist() == [0.7, 3.0]


def test_no_score_lies_between_equal_runs():
    with pytest.raises(BadArgument, match="the same value"):
        patching_score([1.0, 1.0], clean=[2.0, 3.0], corrupted=[1.0, 3.0])
