"""A prompt that begins another has no row of its own in a sweep, unless its plan means other tokens there."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rheostat as rh
from rheostat.edit.registry import EDITS
from rheostat.engine import division
from rheostat.engine import sweep as engine_sweep
from rheostat.engine.cells import Cell
from rheostat.engine.explain import explain_sweep
from rheostat.engine.forward import run
from rheostat.engine.sweep import sweep_rows
from rheostat.models.toy import N_BLOCKS
from tests.contract.conftest import dividing, load_toy, tolerance
from tests.contract.test_sweeps import EXAMPLES, MOVED, VECTOR, an_edit

LONG = [5, 9, 30, 12, 7, 44, 23, 8]
NESTED = [LONG, LONG[:3], LONG[:6], [5, 9, 31], LONG[:6]]
"""Four begin alike, two are equal; one departs at its last token."""
OWN_ROWS = [LONG, LONG[:3], LONG[:6], [5, 9, 31]]
THREE = torch.randn(3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
TWO = THREE[:2]

SHARED = {
    "add": rh.Add("blocks.*.mlp_out", VECTOR),
    "project": rh.Project("blocks.1.resid_post", VECTOR, positions="prompt"),
    "piecewise": rh.Piecewise("blocks.1.attn_out", VECTOR, positions=0),
    "scale": [rh.Scale("blocks.0.heads", 3.0, positions=slice(1, None)), rh.Scale("final", 2.0, decay=0.5)],
    "zero": [rh.Zero("blocks.2.mlp_in", units=(1, 2)), rh.Add("logits", torch.arange(64.0), positions=[1, 0])],
    "impair": [rh.Impair("blocks.*.mlp_out", mode, 0.3) for mode in ("gaussian", "negative", "magnitude")],
    "erase": rh.Erase("blocks.1.resid_pre", VECTOR, VECTOR.flip(0)),
    "replace": rh.Replace("blocks.1.resid_mid", TWO, positions=[2, 0]),
    "mix": rh.Mix("blocks.1.attn_out", "w7 w8", 0.7, positions=1),
    "cut_attention": rh.CutAttention("blocks.*.pattern", positions=[2, 1], keys=1, units=(0, 1)),
}
"""An edit of every kind, each at the same tokens of all prompts that begin alike."""
APART = {
    "last": rh.Zero("blocks.1.mlp_out", positions="last"),
    "counted from the end": rh.Zero("blocks.1.mlp_out", positions=-2),
    "a slice from the end": [rh.Scale("blocks.0.mlp_out", 2.0), rh.Zero("final", positions=slice(-2, None))],
    "values from the end": rh.Replace("blocks.1.attn_out", THREE, positions=slice(-3, None)),
    "a cut at the last token": rh.CutAttention("blocks.1.pattern", positions="last", keys=-2),
    "a cut at all tokens": rh.CutAttention("blocks.1.pattern", positions="all", keys=1, strength=0.7),
    "keys counted from the end": rh.CutAttention("blocks.1.pattern", positions=2, keys=slice(1, -1), units=(0,)),
    "a module path": rh.Scale("model.layers.1.mlp", 2.0),
}


@contextmanager
def passed(model: rh.Model, block: int = 0) -> Iterator[list[tuple[int, int]]]:
    """Collect (rows, tokens) of every pass through a block."""
    seen: list[tuple[int, int]] = []

    def count(_block: object, _inputs: object, output: torch.Tensor | tuple[torch.Tensor]) -> None:
        rows = output if isinstance(output, torch.Tensor) else output[0]
        seen.append((rows.shape[0], rows.shape[1]))

    with ExitStack() as stack:
        part = model.part(f"{model.anatomy.blocks}.{block}")
        stack.callback(part.register_forward_hook(count).remove)
        yield seen


def assert_equal_single_runs(
    model: rh.Model, prompts: list[list[int]], cells: list[Cell], asked: list[tuple[int, ...]]
) -> float:
    """Compare a sweep with single runs; return by how much the cells moved the logits at most."""
    rows, found, moved = [model.row(prompt) for prompt in prompts], 0, 0.0
    with dividing("in full"):
        for chunk in sweep_rows(model, rows, cells, asked):
            assert chunk.positions == asked[chunk.prompt]
            for cell, logits in zip(chunk.cells, chunk.logits, strict=True):
                at = list(chunk.positions)
                alone = run(model, prompts[chunk.prompt], edits=cells[cell].plan, logits_at=at).logits[0]
                torch.testing.assert_close(logits, alone, rtol=0, atol=tolerance(alone))
                clean = run(model, prompts[chunk.prompt], logits_at=at).logits[0]
                moved, found = max(moved, float((alone - clean).abs().max())), found + 1
    assert found == len(prompts) * len(cells)
    return moved


def lasts(prompts: list[list[int]]) -> list[tuple[int, ...]]:
    return [(len(prompt) - 2, len(prompt) - 1) for prompt in prompts]


@settings(EXAMPLES, max_examples=3)
@given(data=st.data(), tokens=st.lists(st.integers(4, 60), min_size=4, max_size=9))
def test_prompts_that_begin_others_equal_single_runs(core_model, data, tokens):
    lengths = data.draw(st.lists(st.integers(2, len(tokens)), min_size=2, max_size=4))
    prompts = [tokens, *(tokens[:n] for n in lengths), [*tokens[:-1], 61]]
    asked = [tuple(data.draw(st.lists(st.integers(0, len(one) - 1), min_size=1, max_size=3))) for one in prompts]
    sizes = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=3))
    cells = [Cell([an_edit(data.draw, core_model) for _ in range(size)]) for size in sizes]
    cells.append(Cell(rh.Add("blocks.1.mlp_out", torch.arange(16.0), positions=0)))
    assert assert_equal_single_runs(core_model, prompts, cells, asked) > 0


def test_every_registered_edit_is_among_those_that_share():
    assert {*SHARED} == {*EDITS}


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3", "mixtral"])
def test_rows_that_serve_several_prompts_give_each_its_own_logits(family):
    model = load_toy(family)
    cells = [Cell(edit) for edit in (*SHARED.values(), *list(APART.values())[:-1])]
    assert assert_equal_single_runs(model, NESTED, cells, lasts(NESTED)) > MOVED


@pytest.mark.parametrize("edit", SHARED.values(), ids=SHARED)
def test_a_prompt_that_begins_another_passes_no_block(edit):
    model = load_toy("llama")
    with passed(model) as seen:
        assert assert_equal_single_runs(model, NESTED, [Cell(edit)], lasts(NESTED)) > 0
        single = [shape for shape in seen if shape[0] == 1]
    with passed(model) as seen, dividing("in full"):
        list(sweep_rows(model, [model.row(one) for one in NESTED], [edit], lasts(NESTED)))
    assert len(single) >= len(NESTED)  # the comparison did run one by one
    from_prompt = 2 * isinstance(edit, rh.Mix)  # which is bound twice, and runs its other prompt each time
    assert sum(rows for rows, _ in seen) == 2 + from_prompt  # LONG, and the one that departs
    assert max(tokens for _, tokens in seen) == len(LONG)


@pytest.mark.parametrize("edit", APART.values(), ids=APART)
def test_a_plan_that_means_other_tokens_in_the_longer_prompt_does_not_share(edit):
    model = load_toy("llama")
    assert assert_equal_single_runs(model, OWN_ROWS, [Cell(edit)], lasts(OWN_ROWS)) > 0
    with passed(model) as seen, dividing("in full"):
        list(sweep_rows(model, [model.row(one) for one in OWN_ROWS], [edit], lasts(OWN_ROWS)))
    assert sum(rows for rows, _ in seen) == len(OWN_ROWS)


def test_equal_prompts_share_one_row_whatever_the_plan_means():
    model, prompts = load_toy("llama"), [LONG] * 4
    with passed(model) as seen, dividing("in full"):
        chunks = list(sweep_rows(model, [model.row(one) for one in prompts], [APART["last"]], lasts(prompts)))
    assert seen == [(1, len(LONG))]
    assert sorted(chunk.prompt for chunk in chunks) == [0, 1, 2, 3]


def test_a_substring_keeps_its_own_row():
    model = load_toy("llama")
    texts = ["w5 w9 w30 w12", "w5 w9 w30"]
    edit = rh.Zero("blocks.1.mlp_out", positions="w9")
    with passed(model) as seen, dividing("in full"):
        found = list(sweep_rows(model, [model.row(text) for text in texts], [edit], [(3,), (2,)]))
    assert sum(rows for rows, _ in seen) == 2
    for chunk in found:
        alone = run(model, texts[chunk.prompt], edits=edit).logits[0]
        torch.testing.assert_close(chunk.logits[0], alone, rtol=0, atol=1e-9)


def test_no_row_goes_on_behind_the_last_token_asked_for_unless_the_plan_needs_the_rest():
    model, asked = load_toy("llama"), [(2, 3)]
    for edit, n in ((SHARED["impair"], 4), (None, 4), (APART["last"], 8), (rh.Zero("embed", positions=6), 8)):
        with passed(model) as seen:
            assert_equal_single_runs(model, [LONG], [Cell(edit)], asked)
        assert seen[0] == (1, n), edit


@pytest.mark.parametrize("edit", [SHARED["impair"], APART["last"]])
def test_the_work_explained_is_that_of_the_rows_that_run(edit):
    model, cells = load_toy("llama"), [Cell(edit), Cell(rh.Zero("blocks.0.heads", positions=1))]
    with dividing("in full"):
        cost = explain_sweep(model, NESTED, cells)
        with passed(model) as seen:
            list(sweep_rows(model, [model.row(one) for one in NESTED], cells, [(len(one) - 1,) for one in NESTED]))
    assert cost.block_token_rows == N_BLOCKS * sum(rows * tokens for rows, tokens in seen)
    assert cost.passes == len(seen)


def test_passes_that_leave_are_explained_up_to_the_last_token_asked_for(core_model):
    cells = [Cell(rh.Add("blocks.0.resid_pre", VECTOR, positions=[1, 4], strength=c)) for c in (0.5, 1.0, 2.0)]
    late = Cell(rh.Zero("blocks.0.mlp_out", positions=5))  # behind what is asked: it costs nothing
    with dividing("branching"):
        cost = explain_sweep(core_model, LONG, [*cells, late], logits_at=[1, 2])
        with ExitStack() as stack:
            seen = [stack.enter_context(passed(core_model, block)) for block in range(N_BLOCKS)]
            list(sweep_rows(core_model, [core_model.row(LONG)], [*cells, late], [(1, 2)]))
    assert cost.block_token_rows == sum(rows * tokens for one in seen for rows, tokens in one)
    assert cost.passes == len(seen[0]) == 2


def test_prompts_that_begin_others_make_whole_rows_the_cheaper_way():
    """Each alone, a prompt's cells would leave a shared run at the second block; together they need one row each."""
    model = load_toy("llama")
    cells = [Cell(rh.Add("blocks.1.resid_pre", VECTOR, strength=k / 100)) for k in range(1, 100)]
    nested = [[(7 * place) % 50 + 5 for place in range(n)] for n in range(56, 64)]
    alone = explain_sweep(model, nested[-1:], cells)
    together = explain_sweep(model, nested, cells)
    assert alone.block_token_rows < alone.plain_block_token_rows  # it branches
    assert together.block_token_rows == N_BLOCKS * 63 * len(cells)


def test_rows_of_one_plan_share_batches_and_small_rests_share_others(monkeypatch):
    model = load_toy("llama")
    prompts = [[5 + k % 30, 9, 8 + k % 7, *range(4, 5 + k % 4)] for k in range(12)]
    cells = [rh.Impair("blocks.*.mlp_out", "gaussian", level) for level in (0.1, 0.2, 0.3)]
    batches = []

    def spied(network, rows, plans, asked):
        batches.append({plan.fingerprint() for plan in plans})
        return run_rows(network, rows, plans, asked)

    run_rows = engine_sweep.run_rows
    monkeypatch.setattr(engine_sweep, "run_rows", spied)
    for enough, wanted in ((20, 1), (10_000, len(cells))):
        batches.clear()
        monkeypatch.setattr(division, "ENOUGH_TOKEN_ROWS", enough)
        with dividing("in full"):
            list(sweep_rows(model, [model.row(one) for one in prompts], cells, lasts(prompts)))
        assert len(batches) >= 1
        assert {len(plans) for plans in batches} == {wanted}


@pytest.mark.parametrize("edit", [SHARED["impair"], rh.Zero("logits", positions=1), None])
def test_only_tokens_that_were_asked_for_are_unembedded(model, edit):
    unembed, seen = model.part(model.body.unembed), []
    rows = [model.row(one) for one in NESTED]
    with ExitStack() as stack, dividing("in full"):
        stack.callback(unembed.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0])).remove)
        list(sweep_rows(model, rows, [edit], lasts(NESTED)))
    n_asked = len({place for at in (lasts(NESTED)[0], lasts(NESTED)[1], lasts(NESTED)[2]) for place in at}) + 2
    whole = isinstance(edit, rh.Zero)
    assert (sum(one.shape[:-1].numel() for one in seen) == n_asked) != whole


@pytest.mark.parametrize(
    "plan",
    [
        [rh.Zero("blocks.1.mlp_out", positions=1), rh.Scale("blocks.1.mlp_out", 3.0, positions=2)],
        [rh.Impair("blocks.1.mlp_out", "magnitude", 0.0), rh.Scale("blocks.1.mlp_out", 3.0, positions=2)],
    ],
)
def test_edits_write_to_a_copy_and_never_to_the_network_s_own_tensor(core_model, plan):
    """The first edit of the second plan returns what it was given, which the next must not write to."""
    where, held = core_model.anatomy.tap("mlp_out", 1), []
    clean = core_model.capture(LONG, "blocks.1.mlp_out")["blocks.1.mlp_out"]
    with ExitStack() as stack:
        part = core_model.part(where.module)
        stack.callback(part.register_forward_hook(lambda _m, _i, output: held.append(output)).remove)
        output = run(core_model, LONG, edits=plan, capture="blocks.1.mlp_out", capture_at="all")
    assert torch.equal(held[0].view_as(clean), clean)
    assert (output.activations["blocks.1.mlp_out"] - clean).abs().max() > MOVED
