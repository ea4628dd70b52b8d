"""A sweep over generation writes what each row alone would write, whatever shares its batch."""

import pandas as pd
import pytest
import torch

import rheostat as rh
from rheostat.base.errors import (
    BadArgument,
    EditNotApplied,
    EditNotUsable,
    NeedsTokenizer,
    PositionNotFound,
    PromptTooLong,
)
from rheostat.models.toy import toy
from rheostat.sweeps import generations as home
from rheostat.sweeps.generations import row_id
from tests.contract.conftest import load_toy

PROMPTS = ["w5 w9 w30 w12 w7", "w44 w8", "w17 w21 w60"]
VECTOR = torch.randn(16, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3
CELLS = [
    rh.Cell(None, {"where": "none"}),
    *(
        rh.Cell(rh.Add("blocks.1.resid_post", VECTOR, positions=where), {"where": str(where)})
        for where in ("all", "last", "generated", 0)
    ),
    rh.Cell([rh.Zero("blocks.0.attn_out"), rh.Mix("blocks.2.mlp_out", "w4 w11")], {"where": "two edits"}),
]
WAYS = [
    {"max_new_tokens": 6},
    {"max_new_tokens": 5, "temperature": 1.3, "draws": 2, "seed": 7, "top_k": 40},
]
VOWELS = {"length": len, "sevens": lambda text: text.count("7")}


def alone(model: rh.Model, text: str, plan: rh.Plan, draw: int, **options: object) -> tuple[int, ...]:
    """Return the new tokens of one generation; of the unedited one where the text ends before an edit acts."""
    ids = [row_id(model.encode(text), draw)]
    try:
        return model.generate(text, plan, row_ids=ids, **options).ids[0]
    except EditNotApplied:
        (unedited,) = model.generate(text, row_ids=ids, **options).ids
        assert len(unedited) == 1
        return unedited


def one_by_one(model: rh.Model, *, draws: int = 1, **options: object) -> dict[tuple[int, int, int], tuple[int, ...]]:
    """Return the new tokens per (prompt, cell, draw), each from a generation of its own."""
    return {
        (prompt, cell, draw): alone(model, text, one.plan, draw, **options)
        for prompt, text in enumerate(PROMPTS)
        for cell, one in enumerate(CELLS)
        for draw in range(draws)
    }


def written(table: pd.DataFrame) -> dict[tuple[int, int, int], tuple[int, ...]]:
    return {(row.prompt, row.cell, row.draw): row.ids for row in table.itertuples()}


@pytest.mark.parametrize(
    ("name", "options"), [("llama", WAYS[0]), ("gemma3", WAYS[1]), ("gpt2", WAYS[1]), ("gpt_neox", WAYS[0])]
)
def test_each_row_is_the_row_alone(name, options):
    model = load_toy(name)
    wanted = one_by_one(model, **options)
    for max_token_rows in (60, 10_000):
        table = model.sweep_generations(PROMPTS, CELLS, max_token_rows=max_token_rows, **options)
        assert written(table) == wanted
    assert len(set(wanted.values())) > len(PROMPTS) * len(CELLS) // 2  # the plans change what is written
    assert table["text"].tolist() == [model.decode(ids) for ids in table["ids"]]


def test_the_table_holds_labels_texts_and_metrics():
    model = load_toy("llama")
    table = model.sweep_generations(PROMPTS, CELLS, VOWELS, max_new_tokens=4)
    own = ["cell", "prompt", "draw", "where", "applied", "text", "ids", "length", "sevens"]
    assert list(table.columns) == own
    for row in table.itertuples():
        assert row.where == CELLS[row.cell].labels["where"]
        assert row.length == len(row.text) and row.sevens == row.text.count("7")
    assert table["length"].min() > 0


def test_batches_hold_prompts_of_several_lengths_and_keep_to_the_budget(monkeypatch):
    model = load_toy("llama")
    sizes, mixed = [], []

    def counted(network, prompts, **options):
        lengths = [len(network.row(prompt)) for prompt in prompts]
        sizes.append(len(prompts) * (max(lengths) + options["max_new_tokens"]))
        mixed.append(len(set(lengths)) > 1)
        return rh.Model.generate(network, prompts, **options)

    monkeypatch.setattr(home, "generate", counted)
    model.sweep_generations(PROMPTS, CELLS, max_new_tokens=3, max_token_rows=50)
    assert max(sizes) <= 50 and any(mixed)
    n = len(sizes)
    model.sweep_generations(PROMPTS, CELLS, max_new_tokens=3, max_token_rows=1)
    assert len(sizes) - n == len(PROMPTS) * len(CELLS)  # one row each: less cannot be


def test_draws_share_their_luck_between_cells_and_not_between_prompts_or_draws():
    model = load_toy("llama")
    same = [rh.Cell(None, {"k": 0}), rh.Cell(rh.Add("blocks.0.mlp_out", VECTOR, strength=0.0), {"k": 1})]
    options = {"temperature": 3.0, "draws": 4, "max_new_tokens": 6}
    table = model.sweep_generations([PROMPTS[0], PROMPTS[0], PROMPTS[1]], same, **options)
    by_cell = [table[table["k"] == k].reset_index()["text"] for k in (0, 1)]
    pd.testing.assert_series_equal(*by_cell)
    own = table[(table["k"] == 0)]
    assert own[own["prompt"] == 0]["text"].nunique() == 4
    assert own[own["prompt"] == 0]["text"].tolist() == own[own["prompt"] == 1]["text"].tolist()
    assert row_id([1, 2], 0) != row_id([1, 3], 0) != row_id([1, 3], 1)
    other = model.sweep_generations(PROMPTS[0], same, seed=1, **options)
    assert not set(other["text"]) & set(own["text"])


def test_a_text_that_ends_at_once_is_said_to_have_met_no_edit_of_generated_tokens():
    model = load_toy("llama")
    first = model.generate(PROMPTS[1], max_new_tokens=1).ids[0][0]
    module = toy("llama", dtype=torch.float64)
    module.generation_config.eos_token_id = first
    ending = rh.load(module, tokenizer=model.tokenizer)
    cells = [rh.Add("blocks.1.resid_post", VECTOR, positions=where) for where in ("generated", "prompt")]
    cells.append([rh.Zero("blocks.0.mlp_out", positions="last", strength=0.0), cells[0]])
    with pytest.raises(EditNotApplied):
        ending.generate(PROMPTS[1], cells[0])
    table = ending.sweep_generations(PROMPTS, cells).set_index(["prompt", "cell"])
    assert table["applied"].to_dict() == {(p, c): (p, c) not in {(1, 0), (1, 2)} for p in range(3) for c in range(3)}
    assert table.loc[(1, 0), "ids"] == table.loc[(1, 2), "ids"] == (first,)
    assert table.loc[(0, 0), "ids"] == ending.generate(PROMPTS[0], cells[0]).ids[0]


@pytest.mark.parametrize("options", WAYS, ids=["greedy", "sampled"])
def test_a_stored_sweep_writes_nothing_twice(tmp_path, monkeypatch, options):
    model, store = load_toy("llama"), tmp_path / "store.sqlite"
    plain = model.sweep_generations(PROMPTS, CELLS, VOWELS, **options)
    batches, whole = [], home._Writing.ids

    def interrupted(writing, places):
        batches.append(list(places))
        if len(batches) == 3:
            raise KeyboardInterrupt
        return whole(writing, places)

    monkeypatch.setattr(home._Writing, "ids", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.sweep_generations(PROMPTS, CELLS, VOWELS, store=store, max_token_rows=50, **options)
    table = model.sweep_generations(PROMPTS, CELLS, VOWELS, store=store, max_token_rows=90, **options)
    pd.testing.assert_frame_equal(table, plain)
    done = [place for number, batch in enumerate(batches) if number != 2 for place in batch]
    assert len(done) == len(set(done)) == len(plain)
    n = len(batches)
    model.sweep_generations(PROMPTS[1], CELLS[2:4], store=store, **options)
    assert len(batches) == n
    for other in ({"max_new_tokens": 3}, {"temperature": 0.5}):
        again = model.sweep_generations(PROMPTS, CELLS, store=store, **{**options, **other})
        pd.testing.assert_frame_equal(again, model.sweep_generations(PROMPTS, CELLS, **{**options, **other}))


@pytest.mark.parametrize(
    ("cell", "options", "error", "says"),
    [
        (rh.Zero("blocks.0.mlp_out", positions=4), {}, PositionNotFound, "cell 1: position 4"),
        (rh.Zero("blocks.0.mlp_out", positions="w5"), {}, PositionNotFound, "cell 1: the prompt does not contain"),
        (rh.Add("blocks.0.mlp_out", torch.zeros(2, 16)), {}, EditNotUsable, "cell 1: .*generated tokens"),
        (rh.Zero("blocks.0.mlp_out", positions="generated"), {"max_new_tokens": 1}, EditNotApplied, "cell 1: "),
        (None, {"max_new_tokens": 99}, PromptTooLong, "99 to generate"),
        (None, {"draws": 2}, BadArgument, "draws=2: 1, or more with a temperature"),
        (None, {"max_token_rows": 0}, BadArgument, "max_token_rows=0"),
        (None, {"metrics": {"text": len}}, BadArgument, "the name 'text'"),
        (rh.Cell(None, {"draw": 1}), {}, BadArgument, "the name 'draw'"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_runs(monkeypatch, cell, options, error, says):
    model = load_toy("llama")
    monkeypatch.setattr(type(model.module), "forward", None)
    with pytest.raises(error, match=says):
        model.sweep_generations(PROMPTS, [None, cell], **options)


def test_token_ids_need_no_tokenizer_and_metrics_of_texts_do():
    model = rh.load(toy("llama", dtype=torch.float64))
    table = model.sweep_generations([[5, 9, 30], [44]], [None], max_new_tokens=2)
    assert table["text"].tolist() == ["", ""] and table["ids"].map(len).tolist() == [2, 2]
    with pytest.raises(NeedsTokenizer):
        model.sweep_generations([[5, 9, 30]], [None], VOWELS)


@pytest.mark.slow
def test_a_real_model_writes_in_batches_what_it_writes_alone():
    model = rh.load("smollm2-135m-instruct")
    prompts = ["The capital of Germany is", "Once upon a time, in a small village by the sea, there lived"]
    vector = model.capture("I love this so much", "blocks.14.resid_post", "last")["blocks.14.resid_post"][0, 0]
    cells = [rh.Add("blocks.14.resid_post", vector, strength=s, positions="generated") for s in (0.0, 0.2, 0.5)]
    for options in ({"max_new_tokens": 12}, {"max_new_tokens": 8, "temperature": 0.9, "draws": 2, "seed": 3}):
        table = model.sweep_generations(prompts, cells, **options)
        draws = options.pop("draws", 1)
        assert len(table) == 6 * draws
        for row in table.itertuples():
            ids = [row_id(model.encode(prompts[row.prompt]), row.draw)]
            assert row.ids == model.generate(prompts[row.prompt], cells[row.cell], row_ids=ids, **options).ids[0]
        assert table["text"].nunique() > len(table) / 2
