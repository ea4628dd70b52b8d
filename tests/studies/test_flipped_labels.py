"""The measures of changed labels find what is planted in answers that no model gave, and nothing where nothing is."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rheostat.base.errors import BadArgument, NotOneToken
from rheostat.metrics.statistics import Interval, Values
from rheostat.model import Model, load
from rheostat.models.toy import toy
from rheostat.models.zoo import BUILT_INS
from rheostat.studies.flipped_labels import (
    episodes,
    measuring,
    more_examples,
    override,
    trained_pair,
    tuned_and_base,
    unrelated,
)
from rheostat.studies.flipped_labels.measuring import Answers, Asked, answers
from rheostat.studies.flipped_labels.prompts import labels_of, prompts_of
from rheostat.studies.flipped_labels.settings import KS, KS_QUICK, SHARES, Setting, settings
from rheostat.studies.flipped_labels.streams import Example, Stream, dealt, streams
from rheostat.studies.flipped_labels.texts import TextSet, sentiment_words
from rheostat.studies.judging import measurement
from rheostat.studies.record import Measurement
from rheostat.studies.study import Context

K, N_STREAMS, N_QUERIES = 8, 16, 4
TEXTS = TextSet("made-up", ("Negative", "Positive"), tuple(tuple(f"{c}{i}" for i in range(64)) for c in "ab"))  # type: ignore[arg-type]
FEW = TextSet("few", ("Negative", "Positive"), tuple(tuple(f"{c}{i}" for i in range(12)) for c in "ab"))  # type: ignore[arg-type]
STREAMS = streams(TEXTS, N_STREAMS, k=K, n_queries=N_QUERIES, seed=0)
Answerer = Callable[[Example, Sequence[Example], Sequence[int]], float]
"""From a query, the demonstrations and the sides of their labels to a margin."""


def answered(answer: Answerer, listed: Sequence[Setting]) -> Answers:
    """Return what an answerer without a network says in some settings."""
    rows = []
    for setting in listed:
        for number, stream in enumerate(STREAMS):
            shown = stream.shown[: 2 * setting.k]
            written = dealt([one.side for one in shown], setting.share, setting.deal, seed=number)
            asked = enumerate(stream.queries)
            found = [(place, one.side, answer(one, shown, written)) for place, one in asked]
            rows += [(setting.name, number, *one) for one in found]
    return Answers(pd.DataFrame(rows, columns=["setting", "stream", "query", "side", "margin"]))


def appears(one: Example) -> int:
    """Return the class that a text seems to have: in every fifth the other one."""
    return 1 - one.side if int(one.text[1:]) % 5 == 0 else one.side


def prior(query: Example, shown: Sequence[Example], written: Sequence[int]) -> float:
    return 2.0 * appears(query) - 1


def copier(query: Example, shown: Sequence[Example], written: Sequence[int]) -> float:
    """Copy the label of the last example that is like the query; without any, go by the prior."""
    alike = [side for one, side in zip(shown, written, strict=True) if appears(query) == one.side]
    return 2.0 * alike[-1] - 1 if alike else prior(query, shown, written)


# --- what is shown ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", SHARES)
def test_the_share_of_flipped_labels_is_exact_in_each_class(share: float) -> None:
    sides = [one.side for one in STREAMS[0].shown]
    found = dealt(sides, share, "mapped", seed=0)
    for side in (0, 1):
        assert sum(new != old for new, old in zip(found, sides, strict=True) if old == side) == share * K


def test_permuted_labels_are_as_many_of_each_and_follow_the_classes_no_more() -> None:
    sides = [one.side for one in STREAMS[0].shown]
    drawn = [dealt(sides, 0.0, "permuted", seed=seed) for seed in range(40)]
    assert all(sorted(one) == sorted(sides) for one in drawn)
    assert np.mean([np.equal(one, sides).mean() for one in drawn]) == pytest.approx(0.5, abs=0.06)


def test_a_share_that_is_no_whole_number_of_demonstrations_is_refused() -> None:
    with pytest.raises(BadArgument, match="no whole number"):
        dealt([0, 1, 0, 1], 0.25, "mapped", seed=0)


def test_the_demonstrations_of_every_k_are_balanced_and_begin_those_of_the_next() -> None:
    for stream in STREAMS:
        for k in (1, 2, 4, 8):
            assert sum(one.side for one in stream.shown[: 2 * k]) == k
        texts = [one.text for one in (*stream.shown, *stream.queries)]
        assert len(set(texts)) == 2 * K + N_QUERIES


def test_no_query_is_asked_twice_and_each_place_asks_both_classes_alike_often() -> None:
    queries = [one.text for stream in STREAMS for one in stream.queries]
    assert len(set(queries)) == N_STREAMS * N_QUERIES
    assert [sum(stream.queries[place].side for stream in STREAMS) for place in range(N_QUERIES)] == [8] * N_QUERIES


@pytest.mark.parametrize(("n", "k"), [(3, 8), (0, 8), (4, 6), (4, 0)])
def test_streams_that_cannot_be_balanced_are_refused(n: int, k: int) -> None:
    with pytest.raises(BadArgument, match="an even number"):
        streams(TEXTS, n, k=k, n_queries=1, seed=0)


def test_too_few_texts_are_refused() -> None:
    with pytest.raises(BadArgument, match="too few"):
        streams(FEW, 16, k=8, n_queries=2, seed=0)


def test_every_pair_of_labels_can_be_undone() -> None:
    for setting in settings(quick=False):
        assert len(set(labels_of(TEXTS, setting))) == 2


def test_settings_have_names_of_their_own() -> None:
    for quick in (True, False):
        names = [one.name for one in settings(quick=quick)]
        assert len(set(names)) == len(names)


# --- answers without a network ----------------------------------------------------------------------------------------


def test_a_model_of_priors_alone_stays_flat() -> None:
    found = answered(prior, [Setting(K, share=share) for share in SHARES])
    accuracies = {share: found.right(Setting(K, share=share)).mean() for share in SHARES}
    assert 0.6 < accuracies[0.0] < 1
    assert set(accuracies.values()) == {accuracies[0.0]}
    assert override.outcome(found.right(Setting(K)), found.right(Setting(K, share=1.0)), seed=0) == "no change"


def test_a_copier_of_the_nearest_example_goes_to_one_minus_its_accuracy() -> None:
    found = answered(copier, [Setting(K, share=share) for share in (0.0, 0.5, 1.0)])
    regular, half, flipped = (found.right(Setting(K, share=share)) for share in (0.0, 0.5, 1.0))
    assert regular.mean() > 0.6
    assert flipped.tolist() == (1 - regular).tolist()
    assert half.mean() == pytest.approx(0.5, abs=0.15)
    assert override.outcome(regular, flipped, seed=0) == "falls below"


def test_a_liking_for_one_label_hides_an_ability_until_it_is_taken_off() -> None:
    found = answered(lambda *given: prior(*given) + 7, [Setting(K)])
    without = answered(prior, [Setting(K)])
    assert found.right(Setting(K)).mean() == 0.5
    assert found.calibrated(Setting(K)).mean() == without.right(Setting(K)).mean()


def test_answers_that_say_nothing_count_half() -> None:
    assert answered(lambda *given: 0.0, [Setting(K)]).right(Setting(K)).tolist() == [0.5] * N_STREAMS


@pytest.mark.parametrize(
    ("regular", "flipped", "expected"),
    [
        (0.5, 0.2, "no ability"),
        (0.8, 0.8, "no change"),
        (0.95, 0.7, "falls, stays above"),
        (0.9, 0.5, "falls to guessing"),
        (0.9, 0.2, "falls below"),
    ],
)
def test_each_outcome_is_told_from_the_others(regular: float, flipped: float, expected: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.08, size=(2, 16))
    noise -= noise.mean(axis=1, keepdims=True)
    assert override.outcome(regular + noise[0], flipped + noise[1], seed=0) == expected


@pytest.mark.parametrize(("regular", "flipped"), [(0.9, 0.45), (0.7, 0.6)])
def test_an_interval_that_holds_two_outcomes_tells_neither(regular: float, flipped: float) -> None:
    wide = np.tile([-0.35, 0.35], 4)
    found = override.outcome(regular + 0.1 * wide, flipped + wide, seed=0)
    assert found == "too wide to tell"


def test_the_verdict_on_small_models_follows_what_was_seen() -> None:
    assert override.named(["no ability"]) == "not testable here"
    assert override.named(["falls to guessing", "no ability"]) == "reproduced"
    assert override.named(["falls below", "falls below"]) == "contradicted"
    assert override.named(["falls below", "falls to guessing"]) == "partly"
    assert override.named(["no change", "falls below"]) == "not"
    assert override.named(["too wide to tell", "no ability"]) == "not testable here"
    assert override.named(["falls to guessing", "too wide to tell"]) == "partly"
    assert override.named(["falls below", "too wide to tell"]) == "not"


def test_a_rise_per_doubling_is_found_and_a_flat_line_has_none() -> None:
    ks = (1, 2, 4, 8, 16)
    values = np.stack([0.5 + 0.1 * np.arange(5), np.full(5, 0.7)])
    assert more_examples.slopes(values, ks).tolist() == pytest.approx([0.1, 0.0])


# --- prompts ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> Model:
    labels = ["Negative", "Positive", "foo", "bar", "Apple", "Orange"]
    words = ["<unk>", "Input:", "Output:", *labels, *(word for side in FEW.texts for word in side)]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    return load(toy("llama", dtype=torch.float64), tokenizer=fast)


@pytest.fixture
def stream() -> Stream:
    return streams(FEW, 2, k=4, n_queries=3, seed=0)[0]


def written(model: Model, row: Sequence[int]) -> str:
    return model.tokens.decode(row)


def test_each_prompt_begins_the_next_and_holds_the_labels_of_its_demonstrations(model: Model, stream: Stream) -> None:
    rows = prompts_of(model, FEW, stream, Setting(4, share=1.0), seed=0)
    for before, after in pairwise(rows):
        assert after[: len(before)] == before
    expected = " ".join(f"Input: {one.text} Output: {FEW.labels[1 - one.side]}" for one in stream.shown)
    assert written(model, rows[0]) == f"{expected} Input: {stream.queries[0].text} Output:"
    told = f" {FEW.labels[1 - stream.queries[0].side]} Input: {stream.queries[1].text} Output:"
    assert written(model, rows[1]) == written(model, rows[0]) + told


def test_with_few_demonstrations_no_query_sees_another(model: Model, stream: Stream) -> None:
    rows = prompts_of(model, FEW, stream, Setting(2), seed=0)
    assert {len(row) for row in rows} == {4 * 4 + 3}
    assert stream.queries[0].text not in written(model, rows[1])


def test_without_demonstrations_a_query_stands_alone(model: Model, stream: Stream) -> None:
    rows = prompts_of(model, FEW, stream, Setting(0), seed=0)
    assert [written(model, row) for row in rows] == [f"Input: {one.text} Output:" for one in stream.queries]


def test_demonstrations_without_labels_hold_none(model: Model, stream: Stream) -> None:
    rows = prompts_of(model, FEW, stream, Setting(4, labelled=False), seed=0)
    assert not {"Negative", "Positive"} & set(written(model, rows[-1]).split())
    assert written(model, rows[-1]).split().count("Output:") == 1


def test_a_filler_makes_few_demonstrations_as_long_as_many(model: Model, stream: Stream) -> None:
    filled = prompts_of(model, FEW, stream, Setting(2, "foo/bar", filler_to=4), seed=0)
    whole = prompts_of(model, FEW, stream, Setting(4, "foo/bar"), seed=0)
    plain = prompts_of(model, FEW, stream, Setting(2, "foo/bar"), seed=0)
    assert len(filled[0]) == len(whole[0]) > len(plain[0])
    assert filled[0][-len(plain[0]) :] == plain[0]


def test_a_label_of_several_tokens_is_refused(model: Model, stream: Stream) -> None:
    with pytest.raises(NotOneToken):
        prompts_of(model, TextSet("two words", ("not good", "good"), FEW.texts), stream, Setting(1), seed=0)


@pytest.mark.parametrize("setting", [Setting(1, "foo/bar"), Setting(4, share=0.5)])
def test_margins_are_those_of_one_run_per_prompt(model: Model, setting: Setting) -> None:
    drawn = streams(FEW, 2, k=4, n_queries=2, seed=0)
    found = answers(model, FEW, drawn, setting, seed=3)
    rows = [row for n, one in enumerate(drawn) for row in prompts_of(model, FEW, one, setting, seed=3 + 1000 * n)]
    none, one = (model.token_id(label) for label in labels_of(FEW, setting))
    expected = [float(logits[one] - logits[none]) for logits in (model.run(row).logits[0, 0] for row in rows)]
    assert found["margin"].tolist() == pytest.approx(expected, abs=1e-9)
    assert len(set(expected)) > 1
    assert found["side"].tolist() == [query.side for each in drawn for query in each.queries]


# --- the parts --------------------------------------------------------------------------------------------------------


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    rows = [
        {"size": size.name, "network": number, "share": share, "accuracy": 1 - share * number_of / 2}
        for number_of, size in enumerate(episodes.SIZES, 1)
        for number in range(2)
        for share in SHARES
    ]
    monkeypatch.setattr(trained_pair, "measure", lambda context: pd.DataFrame(rows))
    return Context((), True, 0, tmp_path, show_progress=False)


def both(answer: Answerer, other: Answerer) -> Asked:
    listed = settings(quick=True)
    return {
        (tuned_and_base.TUNED, "words"): answered(answer, listed),
        (tuned_and_base.BASE, "words"): answered(other, listed),
    }


def test_a_copier_overrides_and_a_prior_does_not(context: Context) -> None:
    large, small = override.run(context, both(copier, copier)).verdicts
    assert (large.verdict, small.verdict) == ("not testable here", "contradicted")
    assert "falls below" in small.reason
    assert override.run(context, both(prior, prior)).verdicts[1].verdict == "not"


def test_unrelated_labels_are_told_from_the_same_in_random_order(context: Context) -> None:
    k, copied = KS_QUICK[-1], both(copier, prior)
    regular, mapped, *_ = unrelated.measure_all("m", "words", copied[tuned_and_base.TUNED, "words"], k, 0)
    assert (regular.low, regular.high) == (0, 0)  # labels that mean nothing do as well as their own
    assert mapped.low > 0
    assert unrelated.run(context, copied).verdicts[0].verdict == "partly"


def test_meaning_and_mapping_together_are_a_part_of_the_claim_and_a_null_needs_power(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = both(copier, copier)

    def measured(low: float, high: float) -> list[Measurement]:
        middle = (low + high) / 2
        return [measurement("m", "q", Interval(middle, low, high, N_STREAMS), control=0.5, unit="u", control_name="c")]

    for low, high, expected in ((0.1, 0.3, "partly"), (-0.1, 0.1, "not"), (-0.3, 0.3, "not testable here")):
        monkeypatch.setattr(unrelated, "measure_all", lambda *given, low=low, high=high: 2 * measured(low, high))
        monkeypatch.setattr(unrelated, "_describe", lambda *given: "")
        assert unrelated.run(context, asked).verdicts[0].verdict == expected


def test_more_examples_help_where_they_are_counted_and_not_in_random_order(context: Context) -> None:
    rng = np.random.default_rng(0)

    def counting(query: Example, shown: Sequence[Example], written: Sequence[int]) -> float:
        votes = [
            2 * side - 1 if one.side == query.side else 1 - 2 * side for one, side in zip(shown, written, strict=True)
        ]
        return sum(votes) / 4 + float(rng.normal())

    rise, *_ = more_examples.measure_all(
        "m", "words", both(counting, prior)[tuned_and_base.TUNED, "words"], KS_QUICK, 0
    )
    assert rise.low > 0
    assert more_examples.run(context, both(prior, prior)).verdicts[0].verdict == "not testable here"


def test_tuned_and_base_are_compared_on_the_same_streams_and_nothing_is_concluded(context: Context) -> None:
    part = tuned_and_base.run(context, both(prior, copier))
    assert part.verdicts[0].measurements[0].low > 0
    assert part.verdicts[0].verdict == "not testable here"
    alone = {(tuned_and_base.TUNED, "words"): answered(prior, settings(quick=True))}
    assert tuned_and_base.run(context, alone).verdicts[0].measurements == ()


# --- networks of its own ----------------------------------------------------------------------------------------------


def test_labels_of_an_episode_are_flipped_by_share_and_in_training_all_or_none() -> None:
    def flipped(share: float | None) -> Values:
        rows, sides = episodes.episodes(np.random.default_rng(0), 200, share)
        assert (rows[:, ::2] // episodes.N_WORDS == sides).all()
        found: Values = (rows[:, 1::2] - episodes.LABELS[0] != sides).double().numpy()
        return found

    assert flipped(0.0).sum() == 0
    assert flipped(1.0).all()
    assert flipped(0.5).mean() == pytest.approx(0.5, abs=0.05)
    rows = flipped(None).mean(axis=1)
    assert set(rows.tolist()) == {0.0, 1.0}
    assert rows.mean() == pytest.approx(1 - episodes.REGULAR, abs=0.1)


@pytest.mark.slow
def test_the_larger_network_overrides_its_prior_and_the_smaller_does_not() -> None:
    small, large = (episodes.trained(size, seed=0) for size in episodes.SIZES)
    assert episodes.accuracy(small, 1.0, seed=9) > 0.9
    assert episodes.accuracy(large, 0.0, seed=9) > 0.9
    assert episodes.accuracy(large, 1.0, seed=9) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", list(BUILT_INS))
def test_the_built_in_models_tell_words_that_praise_from_words_that_blame(name: str) -> None:
    real, texts = load(name, dtype="float32"), sentiment_words()
    drawn = streams(texts, 4, k=8, n_queries=4, seed=0)
    setting = Setting(8)
    found = Answers(answers(real, texts, drawn, setting, seed=0).assign(setting=setting.name))
    assert found.calibrated(setting).mean() > 0.7
    for unrelated_words in (Setting(1, "foo/bar"), Setting(1, "Apple/Orange")):
        assert len(prompts_of(real, texts, drawn[0], unrelated_words, seed=0)) == 4


def test_the_words_suffice_for_the_full_study() -> None:
    drawn = streams(sentiment_words(), measuring.N_STREAMS, k=KS[-1], n_queries=measuring.N_QUERIES, seed=0)
    assert len(drawn) == measuring.N_STREAMS
