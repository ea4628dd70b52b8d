"""The monitor sees each row as if alone, ends it where the reading crosses, and counts what that saves."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, SiteNotFound
from rheostat.directions.directions import Directions
from rheostat.engine.taps import count_hooks
from rheostat.engine.watch import Seen, Watch
from rheostat.steering.monitor import monitor
from rheostat.steering.threshold import conformal_threshold, threshold_for
from tests.contract.conftest import CORE, load_toy
from tests.directions.planted import at_every_block, between

ROWS = [[5, 9, 30, 12, 7], [44, 8], [17, 21, 60]]
STEPS = 8
WAYS = {
    "greedy": {},
    "without cache": {"use_cache": False},
    "sampling": {"temperature": 1.0, "seed": 5},
    "samples": {"temperature": 1.0, "top_k": 20, "row_ids": [3, 1, 4]},
}
SITE = "blocks.1.resid_post"


@pytest.fixture(params=[*((name, "greedy") for name in CORE), *(("llama", way) for way in list(WAYS)[1:])], ids=str)
def model_and_way(request: pytest.FixtureRequest) -> tuple[rh.Model, dict[str, object]]:
    """Every core family writing greedily, and one of them in every way."""
    name, way = request.param
    return load_toy(name), WAYS[way]


def slow_readings(model: rh.Model, direction, row: list[int], ids: tuple[int, ...]) -> list[float]:
    """Read the prompt's last token and each written token but the last, in a pass of their own."""
    whole = [*row, *ids[:-1]]
    states = model.capture(whole, direction.site)[direction.site][0, len(row) - 1 :]
    return direction.scores(states).tolist()


def crossing(readings: list[float], threshold: float) -> int | None:
    return next((token for token, value in enumerate(readings) if value > threshold), None)


def middle(readings: list[list[float]]) -> float:
    """Return a threshold that some rows cross late or never: the median of the rows' highest readings."""
    return float(np.median([max(one) for one in readings])) - 1e-6


def test_readings_in_a_ragged_batch_are_those_of_a_pass_over_each_finished_text(model_and_way):
    model, way = model_and_way
    direction = between(model, SITE)
    found = monitor(model, ROWS, direction, 1e9, action="flag", max_new_tokens=STEPS, **way)
    plain = model.generate(ROWS, max_new_tokens=STEPS, **way)
    assert found.generation.ids == plain.ids
    for number, row in enumerate(ROWS):
        mine = found.readings[found.readings["row"] == number]
        assert mine["token"].tolist() == list(range(len(plain.ids[number])))
        np.testing.assert_allclose(mine["reading"], slow_readings(model, direction, row, plain.ids[number]), atol=1e-9)


def test_a_stopped_text_is_the_beginning_of_the_full_one_up_to_the_first_crossing(model_and_way):
    model, way = model_and_way
    direction = between(model, SITE)
    full = model.generate(ROWS, max_new_tokens=STEPS, **way)
    readings = [slow_readings(model, direction, *each) for each in zip(ROWS, full.ids, strict=True)]
    threshold = middle(readings)
    found = monitor(model, ROWS, direction, threshold, max_new_tokens=STEPS, **way)
    expected = [crossing(one, threshold) for one in readings]
    assert None in expected and any(token is not None for token in expected)
    for number, token in enumerate(expected):
        assert found.generation.ids[number] == (full.ids[number] if token is None else full.ids[number][:token])
        flag = found.flags.iloc[number]
        assert flag["flagged"] == (token is not None)
        if token is not None:
            assert (flag["token"], flag["site"], flag["block"]) == (token, SITE, 1)
            assert flag["value"] == pytest.approx(readings[number][token], abs=1e-9)


def test_a_row_is_stopped_in_a_batch_where_it_is_stopped_alone(model_and_way):
    model, way = model_and_way
    directions = at_every_block(model)
    threshold = 0.2
    together = monitor(model, ROWS, directions, threshold, window=2, compare=True, max_new_tokens=STEPS, **way)
    for number, row in enumerate(ROWS):
        own = {**way, "row_ids": [way["row_ids"][number]]} if "row_ids" in way else way
        alone = monitor(model, row, directions, threshold, window=2, compare=True, max_new_tokens=STEPS, **own)
        assert alone.generation.ids[0] == together.generation.ids[number]
        for of_batch, of_one in ((together.flags, alone.flags), (together.readings, alone.readings)):
            mine = of_batch[of_batch["row"] == number].drop(columns="row").reset_index(drop=True)
            pd.testing.assert_frame_equal(mine, of_one.drop(columns="row"), rtol=0, atol=1e-9)


def test_a_flag_changes_no_text_and_notes_the_first_crossing():
    model = load_toy("llama")
    direction = between(model, SITE)
    plain = model.generate(ROWS, max_new_tokens=STEPS)
    readings = [slow_readings(model, direction, *each) for each in zip(ROWS, plain.ids, strict=True)]
    found = monitor(model, ROWS, direction, -1e9, action="flag", max_new_tokens=STEPS)
    assert found.generation.ids == plain.ids
    assert found.flags["token"].tolist() == [0, 0, 0]
    np.testing.assert_allclose(found.flags["value"], [one[0] for one in readings], atol=1e-9)


def test_the_first_site_of_a_pass_to_cross_raises_the_flag():
    model = load_toy("llama")
    directions = at_every_block(model)
    found = monitor(model, ROWS[2], directions, 1e9, action="flag", max_new_tokens=STEPS).readings
    highest = found["reading"].nlargest(2).mean()  # one reading lies above
    at = found[found["reading"] > highest].iloc[0]
    flag = monitor(model, ROWS[2], directions, highest, max_new_tokens=STEPS).flags.iloc[0]
    assert (flag["site"], flag["token"], flag["block"]) == (at["site"], at["token"], at["block"])
    everywhere = monitor(model, ROWS[0], directions, -1e9, max_new_tokens=STEPS)
    assert everywhere.flags["site"].tolist() == ["blocks.0.resid_post"]
    assert everywhere.readings["site"].tolist() == ["blocks.0.resid_post"], "later blocks never ran"


def test_smoothing_pools_the_newest_readings():
    model = load_toy("llama")
    direction = between(model, SITE)
    for pool, function in (("mean", np.mean), ("maximum", np.max)):
        found = monitor(model, ROWS, direction, 1e9, action="flag", window=3, pool=pool, max_new_tokens=STEPS)
        for _, each in found.readings.groupby("row"):
            readings = each["reading"].to_numpy()
            expected = [function(readings[max(0, end - 3) : end]) for end in range(1, len(readings) + 1)]
            np.testing.assert_allclose(each["value"], expected, atol=1e-12)


# --- compute ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def counted() -> Iterator[tuple[rh.Model, Counter[int]]]:
    """Return a model and, per block, how many tokens passed it, rows × columns: counted beside rheostat's own count."""
    model = load_toy("llama")
    counts: Counter[int] = Counter()
    handles = [
        block.register_forward_hook(lambda _, args, __, n=n: counts.update({n: args[0].shape[0] * args[0].shape[1]}))
        for n, block in enumerate(model.module.model.layers)
    ]
    yield model, counts
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("row", [0, 2])
@pytest.mark.parametrize("kind", ["resid_pre", "resid_mid", "resid_post"])
def test_a_row_alone_saves_all_that_could_be_saved(counted, kind, row):
    model, counts = counted
    direction = between(model, f"blocks.1.{kind}")
    prompt = ROWS[row]
    readings = monitor(model, prompt, direction, 1e9, action="flag", max_new_tokens=STEPS).readings["reading"]
    threshold = float(readings.max()) - 1e-9
    counts.clear()
    found = monitor(model, prompt, direction, threshold, max_new_tokens=STEPS)
    flag = found.flags.iloc[0]
    done = sum(counts.values())
    token = int(readings.argmax())
    ran = {"resid_pre": 1, "resid_mid": 2, "resid_post": 2}[kind]
    assert flag["token"] == token
    expected = (len(prompt) + token - 1) * model.n_blocks + ran if token else len(prompt) * ran
    assert flag["cost"] == found.block_tokens == expected
    left_inside = (1 if token else len(prompt)) * (kind == "resid_mid")
    assert done == found.block_tokens - left_inside, "a block that is left inside counts, though it never returns"
    assert flag[["full_tokens", "full_cost", "could_be_saved", "before_end"]].isna().all(), (
        "the full text was not written"
    )
    compared = monitor(model, prompt, direction, threshold, compare=True, max_new_tokens=STEPS)
    full = compared.unmonitored
    flag = compared.flags.iloc[0]
    assert flag["full_tokens"] == len(full.ids[0]) and flag["before_end"] == len(full.ids[0]) - token
    assert flag["full_cost"] == (len(prompt) + len(full.ids[0]) - 1) * model.n_blocks
    assert flag["could_be_saved"] == flag["full_cost"] - found.block_tokens


def test_what_a_batch_computes_is_counted_with_pads_and_finished_rows(counted):
    model, counts = counted
    direction = between(model, SITE)
    full = model.generate(ROWS, max_new_tokens=STEPS)
    readings = [slow_readings(model, direction, *each) for each in zip(ROWS, full.ids, strict=True)]
    for threshold in (middle(readings), min(max(one) for one in readings) - 1e-6, 1e9):
        counts.clear()
        found = monitor(model, ROWS, direction, threshold, compare=False, max_new_tokens=STEPS)
        assert found.block_tokens == sum(counts.values())
        assert found.block_tokens >= found.flags["cost"].sum()


def test_a_flag_at_the_prompt_writes_nothing_and_leaves_the_pass_at_its_block(counted):
    model, counts = counted
    direction = between(model, SITE)
    counts.clear()
    found = monitor(model, ROWS, direction, -1e9, max_new_tokens=STEPS)
    assert found.texts == ("", "", "")
    assert found.flags["token"].tolist() == [0, 0, 0]
    assert found.flags["shown"].tolist() == ["(prompt)"] * 3
    assert counts == {0: 15, 1: 15}, "three rows of five columns, two blocks"
    assert found.flags["cost"].tolist() == [2 * len(row) for row in ROWS]


# --- rows, hooks, edits -----------------------------------------------------------------------------------------------


def test_a_row_that_wrote_its_end_is_shown_no_more():
    model = load_toy("llama")
    plain = model.generate(ROWS, max_new_tokens=STEPS).ids
    end = next(token for token in plain[1] if token not in plain[0] and token not in plain[2])
    before = model.module.generation_config.eos_token_id
    model.module.generation_config.eos_token_id = end
    seen: list[Seen] = []
    try:
        written = model.generate(ROWS, max_new_tokens=STEPS, watch=Watch("embed", lambda one: seen.append(one) or ()))
    finally:
        model.module.generation_config.eos_token_id = before
    n_written = plain[1].index(end) + 1
    assert [len(ids) for ids in written.ids] == [STEPS, n_written, STEPS]
    tokens = {
        row: [w for one in seen for r, w in zip(one.rows, one.written, strict=True) if r == row] for row in (0, 1)
    }
    assert tokens == {0: list(range(STEPS)), 1: list(range(n_written))}
    embeddings = model.module.get_input_embeddings().weight
    for one in seen:
        fed = [
            ([*ROWS[row], *plain[row]])[len(ROWS[row]) + w - 1] for row, w in zip(one.rows, one.written, strict=True)
        ]
        torch.testing.assert_close(one.activation, embeddings[fed], rtol=0, atol=0)


def test_a_watch_that_ends_a_row_it_was_not_shown_is_refused_and_leaves_no_hook():
    model = load_toy("llama")
    before = count_hooks(model.module)
    with pytest.raises(BadArgument, match=r"rows \[7\], which were not shown"):
        model.generate(ROWS, watch=Watch("embed", lambda _: [7]))
    with pytest.raises(SiteNotFound):
        model.generate(ROWS, watch=Watch(("embed", "blocks.1.resid_pst"), lambda _: ()))
    with pytest.raises(BadArgument, match="no activation of one token"):
        model.generate(ROWS, watch=Watch("blocks.0.pattern", lambda _: ()))
    monitor(model, ROWS, between(model, SITE), -1e9)
    assert count_hooks(model.module) == before


def test_readings_see_the_edits():
    model = load_toy("llama")
    direction = between(model, SITE)
    strength = 0.75
    options = {"action": "flag", "max_new_tokens": 1}
    plain = monitor(model, ROWS, direction, 1e9, **options).readings["reading"]
    added = monitor(model, ROWS, direction, 1e9, edits=direction.add(strength), **options).readings["reading"]
    np.testing.assert_allclose(added - plain, 2 * strength, atol=1e-9)  # the classes lie 2 apart, one vector


def test_settings_outside_their_range_are_refused_by_name():
    model = load_toy("llama")
    direction = between(model, SITE)
    for options, message in (({"window": 0}, "at least 1 token"),):
        with pytest.raises(BadArgument, match=message):
            monitor(model, ROWS, direction, 1.0, **options)
    with pytest.raises(BadArgument, match="finite score"):
        monitor(model, ROWS, direction, float("nan"))


# --- thresholds -------------------------------------------------------------------------------------------------------


def test_the_conformal_threshold_keeps_the_rate_of_false_alarms():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4000, 40))
    rates = [(one[39] > conformal_threshold(one[:39].tolist(), 0.1)) for one in draws]
    assert 0.08 < np.mean(rates) < 0.12
    assert conformal_threshold([*map(float, range(1, 20))], 0.05) == 19
    assert conformal_threshold([*map(float, range(1, 20))], 0.5) == 10
    with pytest.raises(BadArgument, match=r"18 negative texts cannot promise 5\.0% false alarms: 19 or more"):
        conformal_threshold([0.0] * 18, 0.05)


def test_the_threshold_of_texts_is_crossed_by_the_wanted_number_of_them():
    model = load_toy("llama")
    directions = Directions({site: at_every_block(model)[site] for site in (SITE, "blocks.2.resid_post")})
    rng = np.random.default_rng(1)
    texts = [[*map(int, rng.integers(4, 60, size=rng.integers(3, 8)))] for _ in range(29)]
    threshold = threshold_for(model, directions, texts, false_alarms=0.2, window=2)
    crossed = 0
    for text in texts:
        each = []
        for site, direction in directions.items():
            scores = direction.scores(model.capture(text, site)[site][0, 1:]).tolist()
            each += [np.mean(scores[max(0, end - 2) : end]) for end in range(1, len(scores) + 1)]
        crossed += max(each) > threshold + 1e-12
    assert crossed == 29 - 24, "the 24th smallest of 29 is not crossed"
    with pytest.raises(BadArgument, match="above 0 and below 1"):
        threshold_for(model, directions, texts, false_alarms=1.0)


def test_the_first_token_of_a_row_is_never_read():
    model = load_toy("llama")
    direction = between(model, SITE)
    found = monitor(model, [[5], [9, 30]], direction, -1e9, action="flag", max_new_tokens=4)
    assert found.readings.groupby("row")["token"].agg(list).tolist() == [[1, 2, 3], [0, 1, 2, 3]]
    assert found.flags["token"].tolist() == [1, 0]
    alone = monitor(model, [5], direction, -1e9, max_new_tokens=1)
    assert alone.readings.empty and not alone.flags["flagged"].any()
