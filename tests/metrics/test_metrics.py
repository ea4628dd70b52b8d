"""Metrics of runs: pads never count, tokens and positions are each prompt's own, and identifiers say what was asked."""

import math
import re
from dataclasses import replace

import pytest
import torch
from scipy.stats import binomtest

import rheostat as rh
from rheostat.base.errors import BadArgument, NotOneToken, PositionNotFound
from rheostat.metrics.accuracy import Accuracy, answered
from rheostat.metrics.divergence import KLToClean
from rheostat.metrics.function import OfLogits
from rheostat.metrics.loss import FirstMatch, GreedyMatch, Loss, Perplexity
from rheostat.metrics.measure import measure
from rheostat.metrics.metric import Metric
from rheostat.metrics.tokens import LogitDifference, LogProbability, Probability, Rank
from rheostat.models.toy import toy
from tests.contract.conftest import load_toy

PROMPTS = ["w5 w9 w30", "w7 w12 w8 w40 w6 w6", "w11 w10", "w4 w5 w6 w7"]
EDITS = rh.Scale("blocks.0.mlp_out", 3.0)


def entropy(logits: torch.Tensor) -> torch.Tensor:
    return torch.distributions.Categorical(logits=logits).entropy().sum(-1)


METRICS = [
    LogitDifference("w5", 9),
    LogitDifference(["w5", "w6", "w7", "w8"], [9, 10, 11, 12]),
    Probability("w5"),
    LogProbability([5, 6, 7, 8], at=0),
    Rank("w5", at=-2),
    Accuracy(range(4, 40)),
    Accuracy([[4], [5, 6], range(64), [9]]),
    Loss(),
    Loss("last"),
    Perplexity(slice(1, None)),
    GreedyMatch("last"),
    KLToClean(),
    KLToClean(at="all"),
    OfLogits("entropy", entropy, at=slice(-2, None)),
]


@pytest.fixture(scope="module")
def gpt2() -> rh.Model:
    return load_toy("gpt2")


def measured(model: rh.Model, metric: Metric, prompts: list[str], side: str = "left") -> tuple[float, ...]:
    """Measure an edited run beside the clean one."""
    output, clean = (model.run(prompts, edits, logits_at="all", padding_side=side) for edits in (EDITS, None))
    return measure(metric, model, prompts, output, clean=clean).values


def for_prompt(metric: Metric, number: int) -> Metric:
    """Return the metric of one prompt of several."""
    listed = {
        name: [value[number]]
        for name, value in vars(metric).items()
        if isinstance(value, tuple) and len(value) == len(PROMPTS)
    }
    return replace(metric, **listed)


def named(value: object) -> str:
    """Name a case without the address of a function, which differs between processes."""
    return re.sub(" at 0x[0-9a-f]+", "", str(value))


@pytest.mark.parametrize("metric", METRICS, ids=named)
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_ragged_batch_gives_what_each_prompt_gives_alone(gpt2: rh.Model, metric: Metric, side: str):
    together = measured(gpt2, metric, PROMPTS, side)
    alone = [measured(gpt2, for_prompt(metric, number), [prompt])[0] for number, prompt in enumerate(PROMPTS)]
    assert together == pytest.approx(alone, rel=1e-9, abs=1e-11)
    assert all(math.isfinite(value) for value in together)


@pytest.mark.parametrize(
    "metric",
    [one for one in METRICS if not isinstance(one, Accuracy | GreedyMatch)],
    ids=named,
)
def test_an_edit_moves_every_metric(gpt2: rh.Model, metric: Metric):
    clean = gpt2.run(PROMPTS, logits_at="all")
    before = measure(metric, gpt2, PROMPTS, clean, clean=clean).values
    after = measured(gpt2, metric, PROMPTS)
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) > 1e-3


def test_the_loss_is_the_mean_over_the_predicted_tokens_by_hand(gpt2: rh.Model):
    output = gpt2.run(PROMPTS, logits_at="all")
    for number, prompt in enumerate(PROMPTS):
        ids = gpt2.encode(prompt)
        with torch.no_grad():
            chances = gpt2.module(torch.tensor([ids])).logits[0].softmax(-1)
        each = [-math.log(chances[place - 1, ids[place]]) for place in range(1, len(ids))]
        assert measure(Loss(), gpt2, PROMPTS, output).values[number] == pytest.approx(sum(each) / len(each))
        assert measure(Loss("last"), gpt2, PROMPTS, output).values[number] == pytest.approx(each[-1])
        assert measure(Perplexity(), gpt2, PROMPTS, output).values[number] == pytest.approx(
            math.exp(sum(each) / len(each))
        )


def test_fillers_would_have_counted(gpt2: rh.Model):
    output = gpt2.run(PROMPTS, logits_at="all")
    assert output.logits.isnan().any(-1).sum() == 3 + 4 + 2  # the control: there is something to leave out
    assert not any(map(math.isnan, measure(Loss(), gpt2, PROMPTS, output).values))


def test_a_greedy_match_is_what_greedy_decoding_writes(gpt2: rh.Model):
    written = gpt2.generate(PROMPTS, max_new_tokens=3).ids
    answers = [[*gpt2.encode(prompt), *ids] for prompt, ids in zip(PROMPTS, written, strict=True)]
    wrong = [[*ids[:-2], ids[-2] % 50 + 5, ids[-1]] for ids in answers]
    for rows, expected in ((answers, 1.0), (wrong, 0.0)):
        output = gpt2.run(rows, logits_at="all")
        assert measure(GreedyMatch(slice(-3, None)), gpt2, rows, output).values == (expected,) * 4


def test_a_network_whose_logits_are_all_equal_is_right_only_where_greedy_decoding_writes_the_answer():
    module = toy("llama")
    torch.nn.init.zeros_(module.lm_head.weight)
    model = rh.load(module)
    written = model.generate([[5, 9]], max_new_tokens=1).ids[0][0]
    prompts = [[5, 9, 30], [5, 9, written]]
    dead = model.run(prompts, logits_at="all")
    assert dead.logits.unique().numel() == 1
    for metric in (GreedyMatch("last"), FirstMatch("last")):
        assert measure(metric, model, prompts, dead).values == (0.0, 1.0)
    assert measure(Accuracy([30], at=1), model, prompts, dead).values == (0.0, 0.0)
    assert measure(Accuracy([30, written], at=1), model, prompts, dead).values == (1.0, 1.0)


def test_a_share_that_no_prompt_disturbs_still_has_an_interval(gpt2: rh.Model):
    found = [Accuracy([5]).mean([value] * 20, seed=0) for value in (0.0, 1.0)]
    exact = [binomtest(k, 20).proportion_ci(method="exact") for k in (0, 20)]
    for one, other in zip(found, exact, strict=True):
        assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-9)
    assert str(Loss().mean([1.0] * 20, seed=0)) == "1 [1, 1], n = 20", "a loss is no share"


def test_an_answer_is_right_when_the_likeliest_token_is_in_its_set(gpt2: rh.Model):
    output = gpt2.run(PROMPTS)
    best = output.logits[:, 0].argmax(-1).tolist()
    others = [(token + 1) % 60 for token in best]
    assert measure(Accuracy([[one, 3] for one in best]), gpt2, PROMPTS, output).values == (1.0,) * 4
    assert measure(Accuracy([[one] for one in others]), gpt2, PROMPTS, output).values == (0.0,) * 4
    assert sum(measure(Accuracy([best[0]]), gpt2, PROMPTS, output).values) == best.count(best[0])


def test_what_was_written_is_compared_token_for_token():
    written = [[4, 5, 6], [4], [7, 8]]
    assert answered(written, [[[4, 5]], [[4, 5]], [[9], [7]]]) == (1.0, 0.0, 1.0)
    assert answered(written, [[[4, 5, 6]], [[4]], [[7]]]) == (1.0, 1.0, 1.0), "what follows does not count"
    with pytest.raises(BadArgument, match="always be right"):
        answered([[4]], [[[]]])
    with pytest.raises(BadArgument, match="2 answer sets for 1 prompts"):
        answered([[4]], [[[4]], [[5]]])


def test_means_have_an_interval_over_prompts_and_perplexity_a_geometric_one(gpt2: rh.Model):
    output = gpt2.run(PROMPTS, logits_at="all")
    loss, perplexity = (measure(metric, gpt2, PROMPTS, output) for metric in (Loss(), Perplexity()))
    mean, spread = loss.mean(seed=3), perplexity.mean(seed=3)
    assert mean.value == pytest.approx(sum(loss.values) / 4) and mean.n == 4
    assert mean.low < mean.value < mean.high
    assert [spread.low, spread.value, spread.high] == pytest.approx(
        [math.exp(x) for x in (mean.low, mean.value, mean.high)]
    )
    assert loss.table().to_dict("list") == {"prompt": [0, 1, 2, 3], "metric": ["loss"] * 4, "value": [*loss.values]}


# --- identifiers ------------------------------------------------------------------------------------------------------


def identifiers(model: rh.Model, metric: Metric) -> list[str]:
    return [one.identifier for one in metric.bind(model, [model.row(prompt) for prompt in PROMPTS])]


def test_an_identifier_says_what_is_measured_in_ids_and_places(gpt2: rh.Model):
    assert identifiers(gpt2, LogitDifference("w5", 9))[:2] == [
        "logit_difference(answer=5,at=2,other=9)",
        "logit_difference(answer=5,at=5,other=9)",
    ]
    assert identifiers(gpt2, Accuracy([["w9", 4, 9]] * 4))[2] == "accuracy(answers=(4, 9),at=1)"
    assert identifiers(gpt2, Loss())[2] == "loss(tokens=(1,))"
    assert identifiers(gpt2, OfLogits("entropy", entropy))[0] == "of_logits(at=(2,),name=entropy)"


def test_equal_questions_have_equal_identifiers_and_others_do_not(gpt2: rh.Model):
    assert identifiers(gpt2, Probability("w5")) == identifiers(gpt2, Probability([5] * 4, at=-1))
    for one, other in [
        (Probability("w5"), Probability("w6")),
        (Probability("w5"), LogProbability("w5")),
        (Rank("w5"), Rank("w5", at=0)),
        (Loss(), Perplexity()),
        (LogitDifference(5, 9), LogitDifference(9, 5)),
        (KLToClean(), KLToClean(at="all")),
        (OfLogits("a", entropy), OfLogits("b", entropy)),
    ]:
        assert not set(identifiers(gpt2, one)) & set(identifiers(gpt2, other))


def test_metrics_are_values_that_can_be_compared_and_hashed():
    assert Probability(["w5", 6]) == Probability(("w5", 6)) and hash(Probability([5])) == hash(Probability((5,)))
    assert Probability(5) != LogProbability(5)
    assert len({*METRICS, *METRICS}) == len(METRICS)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "error", "said"),
    [
        (Probability("w5 w6"), NotOneToken, "not one token"),
        (Probability([5, 6]), BadArgument, "2 tokens for 4 prompts"),
        (Probability(64), BadArgument, "outside the vocabulary of .*: ids 0 to 63"),
        (Probability(-1), BadArgument, "outside the vocabulary"),
        (Probability(5, at="all"), BadArgument, "names 3 tokens"),
        (Probability(5, at=2), PositionNotFound, "position 2"),
        (Loss(0), PositionNotFound, "first token"),
        (Loss(slice(0, 2)), PositionNotFound, "first token"),
        (Accuracy([[5], [6]]), BadArgument, "2 answer sets for 4 prompts"),
    ],
    ids=named,
)
def test_what_a_prompt_does_not_have_is_refused_before_anything_runs(
    gpt2: rh.Model, metric: Metric, error: type[Exception], said: str
):
    with pytest.raises(error, match=said):
        identifiers(gpt2, metric)


def test_a_row_of_one_token_has_no_loss(gpt2: rh.Model):
    with pytest.raises(PositionNotFound, match="the first never is"):
        Loss().bind(gpt2, [gpt2.row("w5")])


@pytest.mark.parametrize("answers", [[], "w5", [5, [6]], [[5], []]], ids=named)
def test_an_answer_set_that_says_nothing_is_refused(answers: object):
    with pytest.raises(BadArgument, match="answers="):
        Accuracy(answers)


@pytest.mark.parametrize("name", ["", "two words", "a(b)"])
def test_a_function_of_the_logits_needs_a_name(name: str):
    with pytest.raises(BadArgument, match="needs a name"):
        OfLogits(name, entropy)


def test_logits_that_were_not_unembedded_are_not_guessed(gpt2: rh.Model):
    with pytest.raises(PositionNotFound, match=r"reads the logits of row 0 at \[0, 1\]; the run unembedded \[2\]"):
        measure(Loss(), gpt2, PROMPTS, gpt2.run(PROMPTS))


def test_a_run_with_gradients_is_measured_too(gpt2: rh.Model):
    output = gpt2.run(PROMPTS, gradients=True)
    assert output.logits.requires_grad
    assert measure(Rank(5), gpt2, PROMPTS, output) == measure(Rank(5), gpt2, PROMPTS, gpt2.run(PROMPTS))
    assert measure(Probability(5), gpt2, PROMPTS, output).values[0] > 0


def test_a_run_of_other_rows_or_without_its_clean_one_is_refused(gpt2: rh.Model):
    output = gpt2.run(PROMPTS)
    with pytest.raises(BadArgument, match="4 rows is measured for 1 prompts"):
        measure(Probability(5), gpt2, "w5", output)
    with pytest.raises(BadArgument, match="give its logits as clean"):
        measure(KLToClean(), gpt2, PROMPTS, output)
    with pytest.raises(BadArgument, match="2 positions; 1 given"):
        Loss().bind(gpt2, [gpt2.row("w5 w6 w7")])[0](output.logits)


def test_a_function_that_returns_another_shape_is_refused(gpt2: rh.Model):
    with pytest.raises(BadArgument, match=r"returned the shape \(1, 1\) for 1 rows"):
        measure(OfLogits("wrong", lambda logits: logits[..., 0]), gpt2, PROMPTS, gpt2.run(PROMPTS))
