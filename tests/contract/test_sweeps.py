"""A sweep gives every cell what a run of that cell alone gives, and computes only what `explain_sweep` says."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rheostat as rh
from rheostat.base.errors import (
    BadArgument,
    EditNotApplied,
    EditNotUsable,
    PositionNotFound,
    RheostatError,
    SiteNotFound,
)
from rheostat.edit.registry import EDITS
from rheostat.engine.cells import Cell, patching_cells
from rheostat.engine.explain import explain_sweep
from rheostat.engine.forward import run
from rheostat.engine.prefix import share_runs
from rheostat.engine.sweep import sweep_chunks, sweep_logits
from rheostat.engine.taps import count_hooks
from rheostat.models.toy import D_VOCAB, N_BLOCKS
from tests.contract.conftest import TOLERANCE, WAYS, dividing, tolerance

MOVED = 1e-4
"""What some cell must move some logit by, so that agreement within the tolerance means something."""
EXAMPLES = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ROW = [5, 9, 30, 12, 7, 44]
DONOR = [5, 9, 31, 12, 8, 44]
VECTOR = torch.linspace(-1, 3, 16, dtype=torch.float64)
"""Not constant: a norm that subtracts the mean would undo it."""

ALONG = ("add", "project", "piecewise")
SWEPT = (*ALONG, "erase", "impair", "replace", "scale", "zero")
"""Edits that cells are drawn from."""
PROMPTS = st.lists(st.lists(st.integers(4, D_VOCAB - 1), min_size=2, max_size=9), min_size=1, max_size=2)
POSITIONS = st.sampled_from(["last", "all", "prompt", 0, -2, slice(1, None), [1, 0]])


def offered(model: rh.Model) -> list[str]:
    return [kind for kind in model.anatomy.kinds if kind != "pattern"]


def one_by_one(model: rh.Model, prompts: list[list[int]], cells: list[Cell], **options: object) -> list[torch.Tensor]:
    """Return per prompt the logits (cell, pos, d_vocab) of as many single runs."""
    return [torch.cat([run(model, row, edits=cell.plan, **options).logits for cell in cells]) for row in prompts]


def assert_same(model: rh.Model, prompts: list[list[int]], cells: list[Cell], **options: object) -> float:
    """Compare a sweep with single runs; return by how much the cells moved the logits."""
    together = sweep_logits(model, prompts, cells, **options)
    options.pop("max_token_rows", None)
    moved = 0.0
    for index, (row, alone) in enumerate(zip(prompts, one_by_one(model, prompts, cells, **options), strict=True)):
        found = together[:, index, : alone.shape[1]]
        torch.testing.assert_close(found, alone, rtol=0, atol=tolerance(alone))
        assert together[:, index, alone.shape[1] :].isnan().all()
        moved = max(moved, float((alone - run(model, row, **options).logits).abs().max()))
    return moved


def an_edit(draw: Callable[[st.SearchStrategy], object], model: rh.Model) -> rh.Edit:
    """Draw any edit at any site, in blocks or around them, with a value of the size of the activations."""
    kinds = [*offered(model), "embed", "final", "logits"]
    kind = draw(st.sampled_from(kinds))
    block = draw(st.sampled_from([*range(N_BLOCKS), "*"]))
    site = f"blocks.{block}.{kind}" if kind in offered(model) else kind
    name = draw(st.sampled_from([*SWEPT]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    value = torch.randn(model.anatomy.shape(kind), generator=generator, dtype=torch.float64) * 2
    arguments = {
        "scale": (3.0,),
        "zero": (),
        "erase": (value, value.flip(0)),
        "impair": (draw(st.sampled_from(["gaussian", "negative", "magnitude"])), 0.5),
    }.get(name, (value,))
    strength = draw(st.sampled_from([1.0, 0.5, 0.0]))
    units = draw(st.sampled_from([None, (1, 0)])) if name != "erase" else None
    positions = draw(POSITIONS)
    options = {"decay": 0.5} if positions == "all" else {}  # which a prompt does not feel
    if name in ALONG:
        options["keep_norm"] = draw(st.booleans())
    return EDITS[name](site, *arguments, positions=positions, units=units, strength=strength, **options)


def test_every_registered_edit_is_swept():
    assert {*SWEPT, "mix", "cut_attention"} == set(EDITS)  # these two have tests of their own


@EXAMPLES
@given(
    data=st.data(),
    prompts=PROMPTS,
    asked=st.sampled_from(["last", "all", [-1, 0]]),
    rows=st.sampled_from([1, 9, 999]),
    way=st.sampled_from([*WAYS]),
)
def test_cells_of_a_sweep_equal_single_runs(model, data, prompts, asked, rows, way):
    sizes = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=5))
    plans = [[an_edit(data.draw, model) for _ in range(size)] for size in sizes]
    cells = [Cell(plan) for plan in [*plans, rh.Add("blocks.1.mlp_out", torch.arange(16.0))]]
    with dividing(way):
        assert assert_same(model, prompts, cells, logits_at=asked, max_token_rows=rows) > MOVED


@settings(EXAMPLES, max_examples=4)
@given(data=st.data(), prompts=PROMPTS, rows=st.sampled_from([1, 9, 999]), way=st.sampled_from([*WAYS]))
def test_cells_on_bases_equal_single_runs_of_base_and_edits(model, data, prompts, rows, way):
    bases = [[an_edit(data.draw, model) for _ in range(size)] for size in (1, 2)]
    cells = [
        Cell([an_edit(data.draw, model) for _ in range(data.draw(st.integers(0, 2)))], base=base)
        for base in (*bases, *bases, None)
    ]
    cells.append(Cell(rh.Add("blocks.1.mlp_out", torch.arange(16.0)), base=bases[0]))
    with dividing(way):
        assert_same(model, prompts, cells, logits_at="all", max_token_rows=rows)


def test_an_edit_before_beside_or_after_the_base_equals_a_single_run(core_model):
    """A base that adds and an edit that scales: their order shows."""
    value = torch.randn(16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    around = [
        "blocks.0.resid_post",
        "blocks.1.resid_pre",
        "blocks.1.attn_out",
        "blocks.1.mlp_out",
        "blocks.1.resid_post",
    ]
    sites = ["embed", *around, "final"]
    cells = [
        Cell(rh.Scale(site, 3.0, positions=1), base=[rh.Add(base, value, positions=[1, 3])])
        for base in sites
        for site in sites
    ]
    assert assert_same(core_model, [ROW], cells) > MOVED
    cost = explain_sweep(core_model, ROW, cells)
    assert cost.passes < len(cells)


def test_restoring_states_of_a_run_under_noise_equals_single_runs(model):
    """Causal tracing: noise at the subject's embeddings, one clean state put back, also with the MLPs frozen."""
    noise = torch.randn(3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    base = [rh.Add("embed", noise, positions=[1, 2, 3])]
    clean = model.capture(ROW, ["blocks.*.resid_post", "blocks.*.mlp_out"])
    corrupt = model.capture(ROW, "blocks.*.mlp_out", edits=base)
    frozen = [rh.Replace("blocks.*.mlp_out", corrupt, positions="all")]
    restored = patching_cells(clean, base=base)
    windows = [
        Cell(
            rh.Replace("blocks.0-1.mlp_out", model.capture(ROW, "blocks.0-1.mlp_out", positions=[k]), positions=k),
            base=base,
        )
        for k in range(6)
    ]
    cut = [Cell([*cell.plan.edits[1:], *frozen], cell.labels, base) for cell in restored]
    cells = [*restored, *windows, *cut]
    assert assert_same(model, [ROW], cells) > MOVED
    noised = run(model, ROW, edits=base).logits
    found = sweep_logits(model, ROW, cells)
    moved = [
        cell for cell, one in zip(restored, (found[:, 0] - noised).abs().amax((-1, -2)), strict=False) if one > MOVED
    ]
    assert {cell.labels["position"] for cell in moved} <= {1, 2, 3, 4, 5}
    assert len(moved) > 6


def test_equal_bases_share_one_run_and_only_what_follows_is_computed(core_model):
    base = rh.Add("embed", VECTOR, positions=1)
    cells = [
        Cell(rh.Zero("blocks.2.mlp_out", positions=-1), base=rh.Add(base.site, base.vector.clone(), positions=1))
        for _ in range(4)
    ]
    with dividing("branching"):
        alone = explain_sweep(core_model, ROW, [cell.edits for cell in cells])
        together = explain_sweep(core_model, ROW, cells)
        assert together == alone
        assert explain_sweep(core_model, ROW, [*cells, cells[0].edits]).passes == together.passes + 2


def test_a_cell_that_adds_nothing_to_its_base_is_the_base_run(core_model, monkeypatch):
    base = [rh.Add("blocks.1.mlp_out", VECTOR, positions=3)]
    held = core_model.capture(ROW, "blocks.*.mlp_out", edits=base)
    cells = [
        *patching_cells(held, base=base),
        Cell(None, base=base),
        Cell(rh.Zero("blocks.1.heads", strength=0.0), base=base),
    ]
    monkeypatch.setattr("rheostat.engine.branch.Branch.run", None)
    found = sweep_logits(core_model, ROW, cells)
    wanted = run(core_model, ROW, edits=base).logits
    torch.testing.assert_close(found[:, 0], wanted.expand(len(cells), -1, -1), rtol=0, atol=1e-9)
    assert (wanted - run(core_model, ROW).logits).abs().max() > MOVED


def test_shared_runs_carry_one_base_and_are_refused_for_another(core_model):
    base = rh.Add("embed", VECTOR, positions=1)
    runs = share_runs(core_model, ROW, "blocks.*.attn_out", base=base)
    cells = [Cell(rh.Zero("blocks.1.attn_out", positions=2), base=base)]
    found = sweep_logits(core_model, ROW, cells, shared=runs)
    torch.testing.assert_close(found, sweep_logits(core_model, ROW, cells), rtol=0, atol=1e-9)
    for wrong, given_runs in ((cells[0].edits, runs), (cells[0], share_runs(core_model, ROW, "blocks.*.attn_out"))):
        with pytest.raises(BadArgument, match="another base"):
            sweep_logits(core_model, ROW, [wrong], shared=given_runs)
    with pytest.raises(EditNotApplied):
        share_runs(core_model, ROW, base=rh.Zero("embed", positions="generated"))


def test_patching_any_kind_of_site_equals_single_runs(model):
    for kind in offered(model):
        cells = patching_cells(model.capture(DONOR, f"blocks.*.{kind}", positions=[1, 4]), by_unit=kind == "heads")
        assert assert_same(model, [ROW], cells) > MOVED, kind


def test_values_per_position_and_from_other_prompts_equal_single_runs(model):
    value = torch.randn(2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cells = [
        Cell(rh.Replace("blocks.1.resid_pre", value, positions=[4, 2])),
        Cell(rh.Replace("blocks.0.attn_out", rh.FromPrompt("w4 w9", positions=1, kind="resid_pre"), positions=3)),
        Cell(rh.Mix("blocks.2.attn_out", "w7 w8", 0.7)),
    ]
    assert assert_same(model, [ROW], cells) > MOVED


def test_module_paths_run_in_full_beside_cells_that_branch(model):
    path = model.anatomy.tap("attn_out", 1).module
    cells = [Cell(rh.Zero("blocks.1.mlp_out")), Cell(rh.Scale(path, 3.0)), Cell(rh.Zero("blocks.2.mlp_out"))]
    assert assert_same(model, [ROW, ROW[:3]], cells) > MOVED


def test_few_cells_on_many_prompts_share_passes_and_many_cells_on_one_branch(core_model):
    """The choice is the cheaper one, and prompts of different lengths run together."""
    prompts = [[*ROW[: 2 + k % 5], k + 4] for k in range(20)]
    few = [Cell(rh.Add("blocks.1.mlp_out", VECTOR)), Cell(rh.Zero("blocks.2.attn_out", positions="last"))]
    cost = explain_sweep(core_model, prompts, few)
    assert cost.passes <= 3  # 40 rows of 3 to 7 tokens
    assert explain_sweep(core_model, prompts, few, max_token_rows=60).passes > 1
    assert assert_same(core_model, prompts, few) > MOVED
    values = torch.randn(60, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    many = [Cell(rh.Add("blocks.2.mlp_out", value, positions="last")) for value in values]
    cost = explain_sweep(core_model, [ROW], many)
    assert cost.passes == 2
    assert cost.block_token_rows == N_BLOCKS * len(ROW) + 60 + 2
    assert assert_same(core_model, [ROW], many) > MOVED


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("differs", [0, 3, 5])
def test_the_work_explained_is_the_work_that_blocks_see(model, differs, way):
    donor = [token + (position >= differs) for position, token in enumerate(ROW)]
    source = model.capture(donor, "blocks.*.resid_pre", positions=slice(differs, None))
    cells = patching_cells(source)
    seen = []

    def count(_block: object, _inputs: object, output: object) -> None:
        rows = output if isinstance(output, torch.Tensor) else output[0]
        seen.append(rows.shape[0] * rows.shape[1])

    with ExitStack() as stack:
        for block in range(N_BLOCKS):
            part = model.part(f"{model.anatomy.blocks}.{block}")
            stack.callback(part.register_forward_hook(count).remove)
        with dividing(way):
            sweep_logits(model, ROW, cells)
    with dividing(way):
        cost = explain_sweep(model, ROW, cells)
    assert cost.block_token_rows == sum(seen)
    assert cost.passes == len(seen) / N_BLOCKS
    assert cost.block_token_rows <= cost.plain_block_token_rows
    assert (cost.block_token_rows < cost.plain_block_token_rows) == (way == "branching")
    assert cost.seconds > 0
    assert str(cost.block_token_rows) in str(cost)


def test_tokens_behind_the_last_one_asked_for_pass_no_block(core_model):
    cells = [Cell(rh.Add("blocks.0.resid_pre", VECTOR, positions=[1, 4], strength=c)) for c in (0.5, 1.0, 2.0)]
    seen = []

    def count(_block: object, _inputs: object, output: object) -> None:
        rows = output if isinstance(output, torch.Tensor) else output[0]
        seen.append(rows.shape[1])

    with dividing("branching"), ExitStack() as stack:
        part = core_model.part(f"{core_model.anatomy.blocks}.{N_BLOCKS - 1}")
        stack.callback(part.register_forward_hook(count).remove)
        found = sweep_logits(core_model, ROW, cells, logits_at=[1, 2])[:, 0]
    assert seen == [len(ROW), 2]  # the shared run, then tokens 1 and 2 of all cells
    alone = torch.cat([run(core_model, ROW, edits=cell.plan, logits_at=[1, 2]).logits for cell in cells])
    torch.testing.assert_close(found, alone, rtol=0, atol=1e-9)


def test_a_cell_that_changes_nothing_is_the_shared_run_and_passes_no_block(core_model, monkeypatch):
    own = core_model.capture(ROW, ["blocks.*.resid_pre", "blocks.*.heads"], positions="all")
    cells = [*patching_cells(own), Cell(None), Cell(rh.Zero("blocks.1.mlp_out", strength=0.0))]
    monkeypatch.setattr("rheostat.engine.branch.Branch.run", None)
    with dividing("branching"):
        together = sweep_logits(core_model, ROW, cells)
        clean = run(core_model, ROW).logits
        torch.testing.assert_close(together[:, 0], clean.expand(len(cells), -1, -1), rtol=0, atol=1e-9)
        with pytest.raises(TypeError):
            sweep_logits(core_model, ROW, [rh.Zero("blocks.1.mlp_out")])


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda: rh.Zero("blocks.1.mlp.ot"), SiteNotFound),
        (lambda: rh.Zero("blocks.1.mlp_out", positions=17), PositionNotFound),
        (lambda: rh.Zero("blocks.1.mlp_out", positions="generated"), EditNotApplied),
        (lambda: rh.Add("blocks.1.mlp_out", torch.zeros(3)), EditNotUsable),
        (lambda: rh.Add("blocks.1.mlp_out", torch.zeros(2, 6, 16)), EditNotUsable),
        (lambda: rh.Zero("blocks.1.heads", units=(9,)), EditNotUsable),
    ],
)
def test_an_invalid_400th_cell_is_refused_before_the_first_runs(core_model, monkeypatch, wrong, error):
    cells = [Cell(rh.Zero("blocks.1.mlp_out"))] * 400 + [Cell(wrong())]
    monkeypatch.setattr(type(core_model.module), "forward", None)
    for verb in (sweep_logits, sweep_chunks, explain_sweep):
        with pytest.raises(error, match="cell 400: "):
            verb(core_model, ROW, cells)


@pytest.mark.parametrize("cells", [[], rh.Zero("final"), rh.Plan()])
def test_what_is_no_list_of_cells_is_refused(core_model, cells):
    with pytest.raises(RheostatError, match="list"):
        sweep_logits(core_model, ROW, cells)
    with pytest.raises(RheostatError, match="max_token_rows=0"):
        sweep_logits(core_model, ROW, [rh.Zero("final")], max_token_rows=0)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_in_the_middle_of_a_sweep_leaves_no_hook(model, error, monkeypatch):
    hooks = count_hooks(model.module)
    before = run(model, ROW).logits
    cells = [[rh.Scale("blocks.0.mlp_out", 2.0), rh.Zero("blocks.2.mlp_out")]]
    seen = []

    def fail(_edit: rh.Zero, activation: torch.Tensor, _value: object) -> torch.Tensor:
        if count_hooks(model.module) > hooks:
            seen.append(1)
            raise error
        return activation * 0

    with monkeypatch.context() as patch:
        patch.setattr(rh.Zero, "change", fail)
        with pytest.raises(error):
            sweep_logits(model, ROW, cells)
    assert seen == [1]
    assert count_hooks(model.module) == hooks
    assert torch.equal(run(model, ROW).logits, before)


def test_shared_runs_serve_as_base_and_as_source(model):
    sites = ["blocks.*.attn_out", "blocks.*.resid_pre"]
    clean, corrupt = share_runs(model, [ROW, DONOR], sites)
    for base, other, prompt in ((clean, corrupt, ROW), (corrupt, clean, DONOR)):
        cells = patching_cells(other.activations(model, sites))
        found = sweep_logits(model, prompt, cells, shared=[base])
        torch.testing.assert_close(found, sweep_logits(model, prompt, cells), rtol=0, atol=TOLERANCE[model.dtype])
        assert (found - base.logits).abs().max() > MOVED


def test_shared_runs_of_something_else_are_refused(core_model):
    runs = share_runs(core_model, [ROW, DONOR], "blocks.*.attn_out")
    for wrong in (runs[1:], runs, share_runs(core_model, ROW, logits_at="all"), share_runs(core_model, ROW)):
        with pytest.raises(BadArgument, match="shared"):
            sweep_logits(core_model, ROW, [rh.Zero("blocks.0.attn_out")], shared=wrong)
    with pytest.raises(BadArgument, match=r"did not keep blocks\.0\.mlp_out"):
        runs[0].activations(core_model, "blocks.0.mlp_out")
    with pytest.raises(BadArgument, match="holds 2 prompts"):
        patching_cells(core_model.capture([ROW, DONOR], "embed", positions="all"))
    with pytest.raises(BadArgument, match="does not hold position 1"):
        patching_cells(core_model.capture(ROW, "embed", positions=[0, 2]), positions=[2, 1])


def test_shared_runs_agree_bit_for_bit_before_their_prompts_differ(core_model):
    clean, longer = share_runs(core_model, [ROW, [*DONOR, 9, 9]], "blocks.*.heads")
    cells = patching_cells(longer.activations(core_model, "blocks.*.heads"), positions=range(2))
    found = sweep_logits(core_model, ROW, cells, shared=[clean])
    assert torch.equal(found[:, 0], clean.logits.expand(len(cells), -1, -1))
    assert not torch.equal(clean.borders[1][2], longer.borders[1][2])
