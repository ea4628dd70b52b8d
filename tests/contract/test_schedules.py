"""Schedules over the text that the model writes: the same with and without cache, in batches and in chunks.

The oracle is the plain slow way: each token is predicted by a run of the whole text so far, without a cache, one row at
a time, with an edit of its own for every token at the strength that the schedule gives it.
"""

import math
from dataclasses import replace

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import EditNotApplied, EditNotUsable
from tests.contract.conftest import load_toy
from tests.contract.test_generation import ROWS, STEPS, step_logits
from tests.contract.test_runs import NORM_KEPT, an_edit

SITE = "blocks.1.resid_post"
SCHEDULES = {
    "first two": ({"positions": rh.Positions.generated(2)}, lambda n: 1.0 if 0 <= n < 2 else 0.0),
    "generated, fading": ({"positions": "generated", "decay": 0.5}, lambda n: 0.5**n if n >= 0 else 0.0),
    "all, fading": ({"positions": "all", "decay": 0.5}, lambda n: 0.5 ** max(n, 0)),
    "first three, fading": (
        {"positions": rh.Positions.generated(3), "decay": 0.8},
        lambda n: 0.8**n if 0 <= n < 3 else 0.0,
    ),
}
"""Settings, and the factor of the token that the model writes after n others; n is negative in the prompt."""


TWO = ("first two", "all, fading")
FORMS = ("add", "project", f"piecewise{NORM_KEPT}", "replace", "scale")


def scheduled(model: rh.Model, form: str, schedule: str) -> rh.Edit:
    return replace(an_edit(model, form, SITE, "all", 3, strength=1.5), **SCHEDULES[schedule][0])


def slowly(model: rh.Model, row: list[int], form: str, schedule: str) -> torch.Tensor:
    """Return the logits (step, vocabulary) of greedy decoding, an edit per token and step."""
    ids, logits = list(row), []
    for _ in range(STEPS):
        factors = {token: SCHEDULES[schedule][1](token - len(row)) for token in range(len(ids))}
        plan = [
            an_edit(model, form, SITE, token, 3, strength=1.5 * factor) for token, factor in factors.items() if factor
        ]
        logits.append(model.run(ids, plan).logits[0, -1])
        ids.append(int(logits[-1].argmax()))
    return torch.stack(logits).float()  # as transformers returns them


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("form", FORMS)
def test_a_schedule_is_one_edit_per_token_at_its_own_strength(form, schedule):
    model = load_toy("llama")
    edit = scheduled(model, form, schedule)
    expected = torch.stack([slowly(model, row, form, schedule) for row in ROWS])
    for use_cache in (True, False):
        found = step_logits(model, ROWS, edit, use_cache=use_cache)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    whole = step_logits(model, ROWS, replace(edit, positions=edit.where.kind, decay=None))
    assert (whole - expected).abs().max() > 1e-3  # the schedule matters
    assert (step_logits(model, ROWS, None) - expected).abs().max() > 1e-3


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_holds_in_every_family_and_for_each_row_alone(core_model, schedule):
    edit = scheduled(core_model, "add", schedule)
    together = step_logits(core_model, ROWS, edit, use_cache=True)
    torch.testing.assert_close(together, step_logits(core_model, ROWS, edit, use_cache=False), rtol=0, atol=1e-9)
    for index, row in enumerate(ROWS):
        torch.testing.assert_close(together[index], step_logits(core_model, [row], edit)[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("schedule", TWO)
@pytest.mark.parametrize("options", [{"cache_implementation": "static"}, {"prefill_chunk_size": 2}])
def test_static_caches_and_chunked_prefill_change_no_schedule(core_model, options, schedule):
    edit = scheduled(core_model, "add", schedule)
    expected = step_logits(core_model, [ROWS[0]], edit)
    torch.testing.assert_close(step_logits(core_model, [ROWS[0]], edit, **options), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("schedule", TWO)
@pytest.mark.parametrize("side", ["left", "right"])
def test_written_text_that_is_read_in_one_padded_pass_is_edited_as_when_it_was_written(core_model, side, schedule):
    edit = scheduled(core_model, "add", schedule)
    steps = step_logits(core_model, ROWS, edit)
    texts = [[*row, *logits.argmax(-1).tolist()[:-1]] for row, logits in zip(ROWS, steps, strict=True)]
    longest = max(map(len, texts))
    pads = [[0] * (longest - len(text)) for text in texts]
    ids = [pad + text if side == "left" else text + pad for text, pad in zip(texts, pads, strict=True)]
    mask = [
        [0] * len(pad) + [1] * len(text) if side == "left" else [1] * len(text) + [0] * len(pad)
        for text, pad in zip(texts, pads, strict=True)
    ]
    positions = (torch.tensor(mask).cumsum(-1) - 1).clamp(min=0)
    named = {"position_ids": positions} if "position_ids" in core_model.parameters_of_forward else {}
    with core_model.editing(edit, prompt_lengths=[len(row) for row in ROWS]), torch.no_grad():
        read = core_model.module(torch.tensor(ids), attention_mask=torch.tensor(mask), use_cache=False, **named).logits
    for row, text, logits, expected in zip(ROWS, texts, read, steps, strict=True):
        start = longest - len(text) if side == "left" else 0
        own = logits[start + len(row) - 1 : start + len(text)].float()
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-6)


def test_beams_of_a_prompt_share_its_schedule(core_model):
    edit = scheduled(core_model, "add", "generated, fading")
    options = {"max_new_tokens": 4, "num_beams": 3, "do_sample": False, "disable_compile": True, "pad_token_id": 0}
    rows = torch.tensor([ROWS[1], [4, 6]])
    with core_model.editing(edit), torch.no_grad():
        together = core_model.module.generate(rows, attention_mask=torch.ones(2, 2).long(), **options)
        alone = core_model.module.generate(rows[1:], attention_mask=torch.ones(1, 2).long(), **options)
    assert torch.equal(together[1, : alone.shape[1]], alone[0])


def test_a_receipt_counts_the_scheduled_tokens_and_their_fading():
    model = load_toy("llama")
    vector = torch.ones(16, dtype=torch.float64)
    options = {"max_new_tokens": STEPS, "temperature": 1.0, "seed": 1}
    first = model.generate(ROWS, rh.Add(SITE, vector, positions=rh.Positions.generated(2)), **options)
    n_read = [len(ids) - 1 for ids in first.ids]  # the last token is never read
    assert max(n_read) > 2
    assert (first.receipt.rows, first.receipt.tokens) == (sum(n > 0 for n in n_read), sum(min(2, n) for n in n_read))
    fading = model.generate(ROWS[0], rh.Add(SITE, vector, positions="generated", decay=0.5), **options)
    norms = [4 * 0.5**n for n in range(len(fading.ids[0]) - 1)]
    assert fading.receipt.tokens == len(norms) > 2
    assert fading.receipt.entries[0].change == pytest.approx(sum(norms) / len(norms))


def test_strength_that_has_faded_to_nothing_changes_nothing():
    model = load_toy("llama")
    edit = rh.Replace(SITE, torch.full((16,), math.inf), positions="generated", decay=5e-324, strength=1e-300)
    output = model.generate(ROWS[0], [replace(edit, value=torch.ones(16))], max_new_tokens=4)
    assert output.ids == model.generate(ROWS[0], max_new_tokens=4).ids


def test_rows_with_schedules_of_their_own_equal_each_row_alone(core_model):
    plans = [[scheduled(core_model, "add", name)] for name in list(SCHEDULES)[:3]]
    together = core_model.generate(ROWS, plans=plans, max_new_tokens=STEPS)
    for row, plan, ids in zip(ROWS, plans, together.ids, strict=True):
        assert core_model.generate(row, plan, max_new_tokens=STEPS).ids[0] == ids
    assert len({core_model.generate(ROWS[0], plan, max_new_tokens=STEPS).ids for plan in plans}) > 1


def test_a_schedule_whose_tokens_are_never_read_raises(core_model):
    with pytest.raises(EditNotApplied, match="changed nothing"):
        core_model.generate(ROWS[0], scheduled(core_model, "add", "first two"), max_new_tokens=1)


def test_a_plain_module_has_no_schedule():
    plain = rh.load(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()))
    edit = rh.Add("0", torch.ones(4), decay=0.5)
    with pytest.raises(EditNotUsable, match="no token positions"):
        plain.run_plain(torch.ones(2, 4), edit)
    with pytest.raises(EditNotUsable, match="no token positions"):
        plain.sweep_plain(torch.ones(2, 4), [edit], {"mean": lambda out: out.mean(-1)})
