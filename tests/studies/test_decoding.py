"""Each measure of the decoding study finds what is planted, and finds nothing where nothing is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import rheostat as rh
from rheostat.data.word_lists import CAPITAL_PROMPTS, COUNTRY_LISTS, TOPIC_WORDS
from rheostat.metrics.statistics import Interval
from rheostat.studies.decoding import capitals, carrying, informed_manipulation, order, topic_step, topics
from rheostat.studies.decoding.climb import decline
from rheostat.studies.decoding.informed_manipulation import Unfolded, with_planted_correlation
from rheostat.studies.decoding.mixing import Dial
from rheostat.studies.decoding.sweep import OTHERS, UNRELATED, Sweep, measure_dials
from rheostat.studies.judging import compared, held, judge, measurement
from rheostat.studies.record import Measurement
from rheostat.studies.spread import spread
from rheostat.studies.study import Context

N_BLOCKS = 8
UNRELATED_TEXTS = ("chair", "stone", "seven")


def found(low: float, high: float, model: str = "one") -> Measurement:
    return measurement(
        model, "effect", Interval((low + high) / 2, low, high, 9), control=1.0, unit="prompts", control_name="chance"
    )


# --- judging ----------------------------------------------------------------------------------------------------------

ABOVE, ACROSS, BELOW = found(0.1, 0.3), found(-0.1, 0.1), found(-0.3, -0.1)


@pytest.mark.parametrize(
    ("deciding", "planted", "verdict"),
    [
        ([ABOVE, ABOVE], True, "reproduced"),
        ([ABOVE, BELOW], True, "partly"),
        ([BELOW, BELOW], True, "contradicted"),
        ([ACROSS, BELOW], True, "not"),
        ([ACROSS, BELOW], False, "not testable here"),
        ([], True, "not testable here"),
    ],
)
def test_a_verdict_follows_from_where_the_intervals_lie(
    deciding: list[Measurement], planted: bool, verdict: str
) -> None:
    assert judge(deciding, planted_found=planted) == verdict


def test_a_reason_counts_what_holds_per_model_and_names_what_points_the_other_way() -> None:
    words = held([found(0.1, 0.3, "one"), found(-0.1, 0.1, "one"), found(-0.3, -0.1, "two")])
    assert words == "Comparisons above zero: 1 of 2 on one, 0 of 1 on two. Below zero: effect against chance (two)."
    assert compared(ABOVE) == "1.2 against 1 (chance; difference [0.1, 0.3])"


# --- sweeps of mixing -------------------------------------------------------------------------------------------------


def sweep_table(shift: Callable[[int, int], float], *, n_lists: int = 8, seed: int = 0) -> pd.DataFrame:
    """A sweep in which list number `i` moves its own target at block `b` by `shift(i, b)`, with noise of 0.1."""
    rng = np.random.default_rng(seed)
    texts = [*(f"list {index}" for index in range(n_lists)), *UNRELATED_TEXTS]
    rows = [
        {
            "text": text,
            "concept": f"concept {index}" if index < n_lists else "",
            "prompt": prompt,
            "block": block,
            "source": source,
            "factor": 3.0,
            "target": f"concept {target}",
            "shift": rng.normal(0, 0.1) + (shift(index, block) if index == target else 0.0),
        }
        for source in ("attn_out", "resid_mid")
        for block in range(N_BLOCKS)
        for prompt in ("first", "second")
        for index, text in enumerate(texts)
        for target in range(n_lists)
    ]
    return pd.DataFrame(rows).assign(gain=lambda t: t["shift"], probability=lambda t: t["shift"], odds=0.0)


def capital_measurements(shift: Callable[[int, int], float], seed: int = 0) -> dict[str, Measurement]:
    sweep = Sweep.of(sweep_table(shift, seed=seed), "shift")
    return {one.control_name: one for one in capitals.measure_all("toy", sweep, 0, "attn_out")}


BEFORE, AFTER = "the whole shift one block before", "the whole shift one block after"
SAME_PLACE = tuple(f"{kind} at the same block and factor" for kind in (OTHERS, UNRELATED))


def test_a_sweep_unfolds_alike_whatever_the_order_of_its_rows() -> None:
    table = sweep_table(lambda index, block: index + block)
    sweep = Sweep.of(table, "shift")
    cell = table[(table["text"] == "list 3") & (table["target"] == "concept 5") & (table["prompt"] == "second")]
    place = sweep.dials.index(Dial(4, "resid_mid", 3.0))
    expected = cell[(cell["block"] == 4) & (cell["source"] == "resid_mid")]["shift"].item()
    assert sweep.measures["shift"][3, 5, 1, place] == expected
    mixed = pd.concat([table.iloc[:1], table.iloc[1:].sample(frac=1, random_state=0)])
    again = Sweep.of(mixed, "shift")
    assert again.own_values("shift").sum() == pytest.approx(sweep.own_values("shift").sum())


def test_mixing_that_works_at_one_block_alone_is_told_from_mixing_that_works_around_it() -> None:
    sharp = capital_measurements(lambda _, block: 2.0 * (block == 4))
    assert all(sharp[name].low > 0 for name in (*SAME_PLACE, BEFORE, AFTER))
    wide = capital_measurements(lambda _, block: 2.0 * np.exp(-0.05 * (block - 4) ** 2))
    assert all(wide[name].low > 0 for name in SAME_PLACE)
    assert wide[BEFORE].low < 0
    assert wide[AFTER].low < 0


def test_mixing_that_does_nothing_shows_no_effect_on_the_lists_that_did_not_choose() -> None:
    none = [capital_measurements(lambda *_: 0.0, seed=seed) for seed in range(20)]
    false_alarms = [one[name].low > 0 for one in none for name in SAME_PLACE]
    assert np.mean(false_alarms) < 0.2


def test_the_dial_that_is_reported_for_a_list_was_chosen_without_it() -> None:
    # even lists move at block 2, odd lists at block 5: each half is reported where the other half moves
    sweep = Sweep.of(sweep_table(lambda index, block: 2.0 * (block == (2 if index % 2 == 0 else 5))), "shift")
    chosen = sweep.dial_of("shift")
    assert [chosen[f"concept {index}"].block for index in range(4)] == [5, 2, 5, 2]
    assert all(dial.block < 5 for dial in sweep.dial_of("shift", before=5).values())
    measured = {one.control_name: one for one in capitals.measure_all("toy", sweep, 0, "attn_out")}
    assert all(measured[name].low < 0.2 for name in SAME_PLACE)


def test_the_choice_on_one_half_does_not_see_the_lists_of_the_other() -> None:
    table = sweep_table(lambda _, block: 1.0 * (block == 3))
    disturbed = table.copy()
    odd = disturbed["text"].str.contains("list [1357]")
    disturbed.loc[odd, "shift"] += np.random.default_rng(0).normal(0, 50, size=int(odd.sum()))
    even = [0, 2, 4, 6]
    before, after = (Sweep.of(one, "shift").beyond("shift", even) for one in (table, disturbed))
    np.testing.assert_array_equal(before, after)
    assert not np.allclose(Sweep.of(disturbed, "shift").beyond("shift"), Sweep.of(table, "shift").beyond("shift"))


def test_the_neighbour_of_a_block_at_the_end_or_of_one_not_tried_is_none() -> None:
    sweep = Sweep.of(sweep_table(lambda *_: 0.0), "shift")
    first, last = sweep.dials.index(Dial(0, "attn_out", 3.0)), sweep.dials.index(Dial(N_BLOCKS - 1, "attn_out", 3.0))
    assert sweep.neighbour(first, -1) is None
    assert sweep.neighbour(last, 1) is None
    after = sweep.neighbour(first, 1)
    assert after is not None
    assert sweep.dials[after] == Dial(1, "attn_out", 3.0)


# --- the step at the reading block ------------------------------------------------------------------------------------


def steps(shift: Callable[[int, int], float], read: dict[str, int]) -> dict[str, Measurement]:
    sweep = Sweep.of(sweep_table(shift), "gain", "probability")
    return {one.control_name: one for one in topic_step.step_at_reading("toy", sweep, read, "attn_out", 0)}


def test_mixing_that_works_up_to_the_reading_block_only_is_a_step_there() -> None:
    step = steps(lambda _, block: 1.0 * (block <= 3), {"first": 3, "second": 3})
    assert step["no step"].effect == pytest.approx(1.0, abs=0.1)
    assert all(one.low > 0 for one in step.values())
    half = steps(lambda _, block: 1.0 * (2 <= block <= 3), {"first": 3, "second": 3})
    assert half["control texts there"].effect == pytest.approx(0.5, abs=0.1)


def test_mixing_that_works_everywhere_or_stops_elsewhere_is_no_step_at_the_reading_block() -> None:
    everywhere = steps(lambda *_: 1.0, {"first": 3, "second": 3})
    assert everywhere["control texts there"].low > 0
    assert everywhere["no step"].low < 0.05
    elsewhere = steps(lambda _, block: 1.0 * (block <= 5), {"first": 0, "second": 0})
    assert elsewhere["a step at any block"].high < 0


def test_a_topic_that_is_read_nowhere_or_only_at_the_last_block_gives_no_step() -> None:
    assert steps(lambda *_: 1.0, {}) == {}
    assert steps(lambda *_: 1.0, {"first": N_BLOCKS - 1}) == {}


def test_the_planted_step_is_found_where_none_was() -> None:
    flat = Sweep.of(sweep_table(lambda *_: 1.0), "gain", "probability")
    read = {"first": 3, "second": 4}
    found = topic_step.step_at_reading("toy", topic_step.with_planted_step(flat, read, 0), read, "attn_out", 0)
    assert found[1].effect == pytest.approx(topic_step.PLANTED_STEP, abs=0.1)
    assert all(one.low > 0 for one in found)


def test_steering_is_found_when_lists_raise_their_own_topic_and_not_when_controls_do_as_well() -> None:
    names = list(TOPIC_WORDS)
    rng = np.random.default_rng(0)

    def report(controls_too: bool) -> pd.DataFrame:
        rows = []
        for kind in ("list", "random vector", "unrelated words"):
            for topic in names:
                for text in ("a", "b", "c"):
                    raised = 5.0 * (kind == "list" or controls_too)
                    gains = {one: rng.normal() + raised * (one == topic) for one in names}
                    rows.append({"kind": kind, "topic": topic, "text": text, "prompt": "p", **gains})
        return pd.DataFrame(rows)

    assert all(one.low > 0 for one in topics.steering("toy", report(controls_too=False), "attn_out", 0))
    assert not any(one.low > 0 for one in topics.steering("toy", report(controls_too=True), "attn_out", 0))


# --- informed manipulation --------------------------------------------------------------------------------------------

POINTS = ("attn_out", "resid_mid", "mlp_out", "resid_post")


def manipulation(kind: str, *, n_pairs: int = 24, n_blocks: int = 12, seed: int = 0) -> Unfolded:
    """Readings and movements: following each other, following depth alone, or unrelated, all smooth over the blocks."""
    rng = np.random.default_rng(seed)

    def smooth() -> np.ndarray:
        noise = rng.normal(size=(n_pairs, n_blocks + 3, len(POINTS)))
        return sum(noise[:, step : n_blocks + step] for step in range(4)).reshape(n_pairs, -1)

    block = np.repeat(np.arange(n_blocks, dtype=float), len(POINTS))
    concept, moved = smooth(), smooth()
    if kind == "following":
        moved = concept + moved
    if kind == "depth":
        concept, moved = concept + block, moved + block
    columns = {"concept": concept, "foreign": smooth(), "contrast": concept, "answer": smooth()}
    return Unfolded(block, POINTS * n_blocks, {**columns, "replace": moved, "mix": moved})


def decide(cells: Unfolded) -> list[Measurement]:
    return informed_manipulation.deciding("toy", cells, "replace", 0)


def test_movement_that_follows_the_reading_is_found_by_every_deciding_comparison() -> None:
    assert all(one.low > 0 for one in decide(manipulation("following")))


def test_movement_that_follows_depth_alone_is_not_found_given_depth() -> None:
    plain, given_depth, _, _ = decide(manipulation("depth"))
    assert plain.low > 0.1
    assert given_depth.low < 0.05


def test_unrelated_smooth_profiles_are_rarely_found() -> None:
    alarms = [[one.low > 0 for one in decide(manipulation("unrelated", seed=seed))] for seed in range(8)]
    assert np.mean(alarms) < 0.15


def test_the_planted_correlation_is_of_the_stated_size_and_is_found_where_there_was_none() -> None:
    cells = manipulation("unrelated", n_pairs=32)
    planted = decide(with_planted_correlation(cells, "replace"))
    assert planted[0].effect - planted[0].control == pytest.approx(0.2, abs=0.08)
    assert all(one.low > 0 for one in planted[:2])
    assert not decide(cells)[0].low > 0


def test_no_correlation_counts_for_nothing_however_negative_the_shifted_ones_are() -> None:
    # one point's movements are large where its readings are small: shifts keep that, so chance lies below 0
    cells = manipulation("unrelated")
    sign = np.array([1.0 if point == "attn_out" else -1.0 for point in cells.point])
    columns = {**cells.columns, "concept": cells.columns["concept"] + 9 * sign}
    columns["replace"] = cells.columns["replace"] - 9 * sign
    plain = decide(Unfolded(cells.block, cells.point, columns))[0]
    assert plain.control == 0
    assert plain.high < 0


def test_shifted_movements_keep_each_point_and_the_order_of_blocks() -> None:
    cells = manipulation("unrelated", n_pairs=2, n_blocks=3)
    shifted = list(cells.shifts("replace"))
    assert len(shifted) == 2
    moved = cells.columns["replace"]
    np.testing.assert_array_equal(shifted[0], np.roll(moved, len(POINTS), axis=1))


# --- order and climb --------------------------------------------------------------------------------------------------


def ranks(first: dict[str, int], n_items: int = 40, n_blocks: int = 10) -> pd.DataFrame:
    """Ranks at which each group of words shows from a given block on."""
    rows = []
    for item in range(n_items):
        for block in range(n_blocks):
            shown = {group: 1.0 if block >= start else 500.0 for group, start in first.items()}
            rows.append({"item": f"item {item}", "block": block, "point": "resid_post", **shown})
    return pd.DataFrame(rows)


def test_a_kind_that_shows_before_the_answer_wins_both_comparisons_and_one_that_shows_after_loses() -> None:
    before = ranks({"category": 3, "other category": 8, "answer": 6})
    assert all(one.low > 0 for one in order.category_first("toy", before, order.STREAM, 0))
    after = ranks({"category": 8, "other category": 9, "answer": 6})
    either, _ = order.category_first("toy", after, order.STREAM, 0)
    assert either.high < 0


def test_a_kind_no_earlier_than_control_words_fails_one_of_the_two_comparisons() -> None:
    general = ranks({"category": 3, "other category": 3, "answer": 6})
    pair = order.category_first("toy", general, order.STREAM, 0)
    assert pair[0].low > 0
    assert min(pair, key=lambda one: one.low).low == 0


def test_noise_alone_makes_no_decline_from_the_peak() -> None:
    rng = np.random.default_rng(0)
    flat = 0.9 + rng.normal(0, 0.05, size=(60, 10))
    assert abs(decline(flat).mean()) < 0.03
    fallen = flat - 0.2 * (np.arange(10) == 9)
    assert decline(fallen).mean() > 0.15


def test_drawing_takes_from_each_kind_in_turn() -> None:
    items = [*(f"a{number}" for number in range(10)), "b0", "c0"]
    taken = spread(items, lambda item: item[0], 4, seed=0)
    assert sorted(item[0] for item in taken) == ["a", "a", "b", "c"]
    assert len(spread(items, lambda item: item[0], 99, seed=0)) == len(items)


# --- through a network ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> rh.Model:
    """A random llama of six blocks whose vocabulary holds the countries' words, one token each."""
    words = {"The", "capital", "of", "is", *CAPITAL_PROMPTS}
    for name in [*CAPITAL_PROMPTS, *(one.concept for one in COUNTRY_LISTS)]:
        words.update(carrying.concept_words(name))
    texts = [*(one.text for one in COUNTRY_LISTS), *capitals.UNRELATED_LISTS]
    words.update(word for text in texts for word in text.split())
    vocabulary = {word: index for index, word in enumerate(["<pad>", "<bos>", "<eos>", "<unk>", *sorted(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=48, num_hidden_layers=6, num_attention_heads=4
    )
    module = LlamaForCausalLM(config).float().eval()
    special = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return rh.load(module, tokenizer=PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special))


@pytest.fixture
def context(model: rh.Model, tmp_path: Path) -> Context:
    return Context((model,), quick=False, seed=0, folder=tmp_path, show_progress=False)


@pytest.fixture
def dials() -> dict[str, Dial]:
    return {one.concept: Dial(1, "attn_out", 3.0) for one in COUNTRY_LISTS}


def test_words_planted_in_one_later_block_are_found_by_the_measure_of_later_ranks(
    model: rh.Model, context: Context, dials: dict[str, Dial]
) -> None:
    table = carrying.measure(model, context, dials, planted=True)
    planted = carrying.planted_found(table, 0)
    assert planted.low > 0
    assert set(table["block"]) == {2, 3, 4, 5}
    before = carrying.gains(table[table["block"] < 3], carrying.COMPUTED, carrying.PLANTED)
    assert (before["gain"] == 0).all()


def test_the_stream_alone_does_not_decide_whether_a_concept_is_carried_on() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"concept": concept, "kind": kind, "point": point, "block": block, "plain": 3.0, "rank": rng.normal(3.0, 0.3)}
        for concept in "abcdefgh"
        for kind in (carrying.OWN, *carrying.CONTROLS)
        for point in (*carrying.COMPUTED, *carrying.STREAM)
        for block in range(4)
    ]
    table = pd.DataFrame(rows)
    own = table["kind"] == carrying.OWN
    only_stream = table.assign(rank=table["rank"] - 2.0 * (own & (table["point"] == "resid_post")))
    assert not any(one.low > 0 for one in carrying.measure_all("toy", only_stream, 0))
    assert all(one.low > 0 for one in carrying.measure_all("toy", only_stream, 0, points=carrying.STREAM))
    spared = table.assign(rank=table["rank"] + 1.0 * ~own)
    unmixed, *controls = carrying.measure_all("toy", spared, 0)
    assert all(one.low > 0 for one in controls)
    assert unmixed.low < 0
    carried = table.assign(rank=table["rank"] - 1.0 * own)
    assert all(one.low > 0 for one in carrying.measure_all("toy", carried, 0))


def test_a_mixing_has_controls_of_every_kind_in_its_place(model: rh.Model, dials: dict[str, Dial]) -> None:
    task = capitals.build_task(model, n_prompts=1)
    vectors = capitals.mixing_vectors(model, task.texts)
    jobs = [job for job in carrying.mixing_jobs(task, vectors, dials, 0) if job.concept == "France"]
    counts = pd.Series([job.kind for job in jobs]).value_counts().to_dict()
    assert counts == dict(zip((carrying.OWN, *carrying.CONTROLS), (1, 3, 2, 1), strict=True))
    assert {job.plan.site for job in jobs} == {"blocks.1.attn_out"}


def test_directions_that_say_a_capital_shift_it_and_no_other(model: rh.Model, context: Context) -> None:
    planted = capitals.planted_found(capitals.measure_planted(model, context), 0)
    assert planted.low > 0


def test_a_step_is_reused_until_one_of_its_inputs_changes(model: rh.Model, context: Context) -> None:
    asked = []

    def at_dial(dial: Dial) -> pd.DataFrame:
        asked.append(dial)
        return pd.DataFrame({"block": [dial.block]})

    def measure(words: list[str]) -> None:
        factors = {"attn_out": (0.7,), "resid_mid": (0.3,)}
        measure_dials(model, context, "toy", factors=factors, blocks=range(2), at_dial=at_dial, inputs={"words": words})

    measure(["one"])
    measure(["one"])
    assert len(asked) == 4
    measure(["other"])
    assert len(asked) == 8


def test_a_carrying_step_is_computed_again_when_the_unrelated_words_change(
    model: rh.Model, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    dials = {"France": Dial(4, "attn_out", 3.0)}
    carrying.measure(model, context, dials)
    monkeypatch.setattr(capitals, "UNRELATED_LISTS", ("stone, cloud, shadow", "table, chair, lamp"))
    carrying.measure(model, context, dials)
    assert context.reused == []
    carrying.measure(model, context, dials)
    assert len(context.reused) == 1
