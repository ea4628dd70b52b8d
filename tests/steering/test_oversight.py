"""Oversight compared where the answer is planted: what decides stands in the prompt, or only in the text."""

import pytest

import rheostat as rh
from rheostat.base.errors import BadArgument
from rheostat.steering.oversight import Oversight, compare_oversight
from tests.contract.conftest import load_toy
from tests.directions.planted import between

STEPS = 8


@pytest.fixture(scope="module")
def model() -> rh.Model:
    return load_toy("llama")


def rows(found: Oversight) -> dict[str, dict[str, float]]:
    return {row["detector"]: row for row in found.table.to_dict("records")}


def test_where_the_prompt_decides_all_detect_and_the_prompt_is_cheapest(model):
    direction = between(model, "embed", [7], [9])
    prompts = [[token, 9] for token in range(20, 60)]
    found = compare_oversight(
        model, direction, [[token, 7] for token in range(20, 40)], prompts[:20], prompts[20:], max_new_tokens=STEPS
    )
    each = rows(found)
    assert (each["prompt only"]["recall"], each["prompt only"]["alarms"]) == (1, 0)
    assert each["prompt only"]["at_prompt"] == each["prompt only"]["before_end"] == 1
    assert each["prompt only"]["auroc"] == 1
    assert 0.35 < each["prompt only"]["shuffled_auroc"] < 0.65
    assert each["prompt only"]["cost_share"] < 0.7
    assert each["finished text"]["cost_share"] == 1, "at the embeddings a filter needs no block"
    assert len(found.texts) == 3 * 40
    assert len(found.generation.texts) == 40


def test_where_only_the_text_decides_the_monitor_detects_before_the_end_and_the_prompt_does_not(model):
    every = [[token, 9] for token in range(4, 64)] + [[token, token, 9] for token in range(4, 64)]
    written = model.generate(every, max_new_tokens=STEPS).ids
    counted = [ids[:-1] for ids in written]  # the last token is written, never read
    sought = max(
        range(64),
        key=lambda token: min(sum(token in ids[:4] for ids in counted), sum(token not in ids for ids in counted) / 3),
    )
    positives = [prompt for prompt, ids in zip(every, counted, strict=True) if sought in ids[:4]]
    negatives = [prompt for prompt, ids in zip(every, counted, strict=True) if sought not in ids]
    assert len(positives) >= 4 and len(negatives) > 40
    direction = between(model, "embed", [sought], [9])
    baseline = between(model, "blocks.0.mlp_out")
    found = compare_oversight(
        model, direction, positives, negatives[:20], negatives[20:], baseline=baseline, max_new_tokens=STEPS
    )
    each = rows(found)
    assert each["monitor"]["recall"] == 1 > each["prompt only"]["recall"]
    assert each["monitor"]["auroc"] == 1
    assert each["prompt only"]["auroc"] == 0.5
    assert each["monitor"]["before_end"] >= 0.4
    caught = found.texts[(found.texts["detector"] == "monitor") & found.texts["positive"]]
    first = [ids.index(sought) + 1 for prompt, ids in zip(every, written, strict=True) if prompt in positives]
    assert caught["token"].tolist() == first
    expected = [(len(prompt) + token - 1) * model.n_blocks for prompt, token in zip(positives, first, strict=True)]
    assert caught["cost"].tolist() == expected
    assert "monitor at blocks.0.mlp_out" in each
    assert each["monitor"]["cost"] < each["finished text"]["cost"]


def test_what_cannot_be_compared_is_refused(model):
    direction = between(model, "embed", [7], [9])
    few = [[token, 9] for token in range(20, 28)]
    with pytest.raises(BadArgument, match="8 negative texts cannot promise"):
        compare_oversight(model, direction, few, few, few)
    with pytest.raises(BadArgument, match="both at embed"):
        compare_oversight(model, direction, few, few, few, baseline=direction)
    with pytest.raises(BadArgument, match="prompt 8 has one token"):
        compare_oversight(model, direction, few, [[5]], few)


@pytest.mark.parametrize("steps", [1, 4])
def test_the_filter_of_the_finished_text_reads_every_written_token(model, steps):
    direction = between(model, "blocks.1.resid_post")
    prompts = [[token, 9] for token in range(20, 52)]
    found = compare_oversight(model, direction, prompts[:6], prompts[6:12], prompts[12:], max_new_tokens=steps)
    scores = found.texts[found.texts["detector"] == "finished text"]["score"]
    for prompt, ids, score in zip(prompts[:12], found.generation.ids, scores, strict=True):
        held = model.capture([*prompt, *ids], direction.site)[direction.site][0, len(prompt) :]
        assert score == pytest.approx(float(direction.scores(held).mean()), abs=1e-9)
