"""Cut attention: on every family, under both implementations, exactly the edges that were named, and nothing else."""

import math

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, EditNotApplied, EditNotUsable, PositionNotFound, SiteNotOffered
from rheostat.engine.cells import Cell
from rheostat.engine.explain import explain_sweep
from rheostat.engine.sweep import sweep_logits
from rheostat.engine.taps import count_hooks
from rheostat.models.toy import TOYS, toy
from tests.contract.conftest import TOLERANCE, WAYS, dividing
from tests.contract.test_generation import ROWS as PROMPTS
from tests.contract.test_generation import step_logits

MOVED = 1e-4
ROW = [5, 9, 30, 12, 7, 44]
RAGGED = [[5, 9, 30, 12, 7, 44], [17, 21, 60]]


def cut(
    site: str = "blocks.1.pattern", positions: object = "last", keys: object = -2, **settings: object
) -> rh.CutAttention:
    return rh.CutAttention(site, positions=positions, keys=keys, **settings)


def eager(name: str) -> rh.Model:
    return rh.load(toy(name, attention="eager"))


@pytest.mark.parametrize("units", [None, (2, 0)])
@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("name", TOYS)
def test_cut_weights_shrink_and_the_others_are_renormalised(name, strength, units):
    model = eager(name)
    before, after = (
        model.run(ROW, edit, capture="blocks.1.pattern", capture_at="all").activations["blocks.1.pattern"][0]
        for edit in (None, cut(keys=[3, 4], units=units, strength=strength))
    )
    wanted = before.clone()
    heads = range(4) if units is None else units
    for head in heads:
        wanted[head, -1, [3, 4]] *= 1 - strength
        wanted[head, -1] /= wanted[head, -1].sum()
    torch.testing.assert_close(after, wanted, rtol=0, atol=1e-6)
    if strength == 1:
        assert after[heads, -1][:, [3, 4]].eq(0).all()
    assert (after - before).abs().max() > 1e-3
    assert torch.equal(after[:, :-1], before[:, :-1])


def test_cutting_equals_dropping_the_keys(model):
    """A token cut everywhere from all later ones leaves them what they are without it, but for their positions."""
    edit = cut("blocks.*.pattern", positions=slice(3, None), keys=2)
    one, other = ([5, 9, token, 12, 7, 44] for token in (30, 31))
    found = [model.run(row, edit, logits_at=slice(3, None)).logits for row in (one, other)]
    torch.testing.assert_close(*found, rtol=0, atol=TOLERANCE[model.dtype])
    plain = [model.run(row, logits_at=slice(3, None)).logits for row in (one, other)]
    assert (plain[0] - plain[1]).abs().max() > MOVED


@pytest.mark.parametrize(
    "settings", [{}, {"strength": 0.5}, {"units": (1, 2)}, {"positions": slice(1, None), "keys": 0}]
)
def test_cut_rows_of_a_ragged_batch_equal_each_row_alone_on_either_side(model, settings):
    edit = cut(**settings)
    plain = model.run(RAGGED, logits_at="all").logits
    left, right = (model.run(RAGGED, edit, logits_at="all", padding_side=side) for side in ("left", "right"))
    tolerance = TOLERANCE[model.dtype]
    torch.testing.assert_close(left.logits, right.logits, rtol=0, atol=tolerance, equal_nan=True)
    for index, row in enumerate(RAGGED):
        alone = model.run(row, edit, logits_at="all").logits[0]
        torch.testing.assert_close(left.logits[index, : len(row)], alone, rtol=0, atol=tolerance)
        assert (alone[-1] - plain[index, len(row) - 1]).abs().max() > MOVED
    if not settings:
        torch.testing.assert_close(left.logits[0, :5], plain[0, :5], rtol=0, atol=tolerance)
        entry = left.receipt.entries[0]
        assert (entry.rows, entry.tokens, entry.edges) == (2, 2, 2)
        assert math.isnan(entry.change)
        assert "2 edges cut" in str(left.receipt)
        assert left.receipt.to_dict()["entries"][0]["change"] is None


def test_strength_zero_is_the_identity_bit_for_bit(model):
    for rows in (ROW, RAGGED):
        plain = model.run(rows, logits_at="all").logits
        output = model.run(rows, cut("blocks.*.pattern", strength=0.0), logits_at="all")
        assert torch.equal(output.logits.nan_to_num(), plain.nan_to_num())
        assert output.receipt.entries[0].edges > 0


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "mistral", "falcon"])
def test_sdpa_and_eager_cut_the_same(name):
    edit = cut("blocks.0-1.pattern", positions=slice(2, None), keys=[1, 2], strength=0.7)
    models = [rh.load(toy(name, attention=attention)) for attention in ("sdpa", "eager")]
    torch.testing.assert_close(*(model.run(ROW, edit).logits for model in models), rtol=0, atol=1e-5)
    assert (models[0].run(ROW, edit).logits - models[0].run(ROW).logits).abs().max() > MOVED


def test_cells_that_cut_equal_single_runs(model):
    base = rh.Add("embed", torch.linspace(-1, 3, 16, dtype=torch.float64), positions=2)
    cells = [
        Cell(edits, base=ground)
        for ground in (None, base, cut(positions=4, keys=2))
        for edits in (
            cut(),
            cut("blocks.*.pattern", positions=[3, -1], keys=[2, 3], units=(1,)),
            [cut("blocks.2.pattern", strength=0.5), rh.Scale("blocks.1.mlp_out", 3.0, positions=3)],
            [cut("blocks.0.pattern", positions="all", keys=1, strength=0.2), cut(strength=0.5), cut(units=(0, 3))],
            cut(strength=0.0),
        )
    ]
    for rows, way in ((1, "branching"), (999, "branching"), (999, "in full")):
        with dividing(way):
            found = sweep_logits(model, [ROW, ROW[:-1]], cells, logits_at="all", max_token_rows=rows)
        for prompt, row in enumerate((ROW, ROW[:-1])):
            wanted = torch.cat([model.run(row, cell.plan, logits_at="all").logits for cell in cells])
            torch.testing.assert_close(found[:, prompt, : len(row)], wanted, rtol=0, atol=TOLERANCE[model.dtype])
    assert (found[:4, 0] - model.run(ROW, logits_at="all").logits).abs().amax((-1, -2)).min() > MOVED


def test_a_cell_leaves_at_its_first_query_that_loses_an_edge(core_model):
    late, early = cut(positions="all", keys=-1), cut(positions="all", keys=1)
    with dividing("branching"):
        assert explain_sweep(core_model, ROW, [late]).block_token_rows == 3 * 6 + 3 * 1
        assert explain_sweep(core_model, ROW, [early]).block_token_rows == 3 * 6 + 3 * 5


@pytest.mark.parametrize("positions", ["last", "generated", "all"])
def test_generation_with_a_cache_equals_generation_without(model, positions):
    edit = cut("blocks.*.pattern", positions=positions, keys=-1 if positions == "generated" else -2, strength=0.9)
    cached, plain = (step_logits(model, PROMPTS, edit, use_cache=use) for use in (True, False))
    torch.testing.assert_close(cached, plain, rtol=0, atol=TOLERANCE[model.dtype])
    assert (cached - step_logits(model, PROMPTS, None)).abs().max() > MOVED
    for index, row in enumerate(PROMPTS):
        alone = step_logits(model, [row], edit)
        torch.testing.assert_close(cached[index], alone[0], rtol=0, atol=TOLERANCE[model.dtype])


def test_static_caches_and_beams_cut_the_same_tokens(core_model):
    edit = cut("blocks.*.pattern", positions="all", keys=-2, strength=0.9)
    wanted = step_logits(core_model, PROMPTS, edit)
    static = step_logits(core_model, PROMPTS, edit, cache_implementation="static")
    torch.testing.assert_close(static, wanted, rtol=0, atol=1e-9)
    written = core_model.generate(PROMPTS, edit, max_new_tokens=3)
    assert written.receipt.entries[0].rows == len(PROMPTS)


@pytest.mark.parametrize(
    ("edit", "error", "says"),
    [
        (lambda: cut(positions=0, keys=0), EditNotUsable, "token 0"),
        (lambda: cut(positions="all", keys=slice(0, 3)), EditNotUsable, "token 0"),
        (lambda: [cut(keys=slice(0, 3)), cut(keys=slice(3, None))], EditNotUsable, "token 5"),
        (lambda: cut(positions=1, keys=3), EditNotApplied, "cut_attention"),
        (lambda: cut(keys=17), PositionNotFound, "17"),
        (lambda: cut(units=(9,)), EditNotUsable, "units go from 0 to 3"),
        (lambda: cut("blocks.1.mlp_out"), EditNotUsable, r"blocks\.1\.pattern"),
        (lambda: rh.Zero("blocks.1.pattern"), SiteNotOffered, "CutAttention"),
    ],
)
def test_cuts_that_cannot_be_are_refused_and_leave_no_hook(core_model, edit, error, says):
    hooks = count_hooks(core_model.module)
    for use in (core_model.run, lambda row, plan: sweep_logits(core_model, row, [plan])):
        if core_model.anatomy.family == "gemma" and error is EditNotUsable and isinstance(edit(), list):
            continue  # its window of four tokens leaves the second edit other edges
        with pytest.raises(error, match=says):
            use(ROW, edit())
        assert count_hooks(core_model.module) == hooks


@pytest.mark.parametrize("strength", [-0.1, 1.1])
def test_strengths_beyond_a_whole_cut_are_refused(strength):
    with pytest.raises(BadArgument, match="between 0 and 1"):
        cut(strength=strength)


def test_attention_that_takes_no_mask_is_refused_by_name(monkeypatch):
    model = rh.load(toy("llama"))
    monkeypatch.setattr(model.module.config, "_attn_implementation_internal", "flash_attention_2")
    with pytest.raises(EditNotUsable, match="flash_attention_2"):
        model.run(ROW, cut())


@pytest.mark.parametrize("way", WAYS)
def test_a_cut_beyond_the_window_of_its_block_is_refused_alone_and_in_a_sweep(way):
    model, beyond = rh.load(toy("mistral")), cut(keys=0)  # its window of four tokens ends before the first
    with pytest.raises(EditNotApplied):
        model.run(ROW, beyond)
    cells = [Cell(cut(keys=-2)), Cell(beyond)]
    with dividing(way), pytest.raises(EditNotApplied):
        sweep_logits(model, [ROW], cells)
    assert count_hooks(model.module) == 0
