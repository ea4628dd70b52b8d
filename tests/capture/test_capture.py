"""A capture runs no further than its last site and stores no more than was asked."""

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, EmptyPrompt, FileNotUsable, SiteNotFound, SiteNotOffered, WouldOverwrite
from rheostat.engine.stream import capture_batches
from tests.contract.conftest import load_toy

ROWS = [[5, 9, 30, 12, 7], [44, 8], [17, 21, 60], [4]]
SITES = ["blocks.1.heads", "blocks.*.resid_post", "embed", "final", "logits"]


@pytest.mark.parametrize(
    ("sites", "begun"),
    [
        ("embed", 0),
        ("blocks.1.resid_pre", 1),
        ("blocks.1.attn_out", 2),
        (["blocks.1.resid_post", "blocks.0.mlp_out"], 2),
        ("final", 3),
    ],
)
def test_the_pass_stops_after_the_last_asked_site(sites, begun):
    model = load_toy("llama")
    calls = []
    norms = [model.module.get_submodule(f"model.layers.{block}.input_layernorm") for block in range(3)]
    handles = [
        norm.register_forward_hook(lambda *_, block=block: calls.append(block)) for block, norm in enumerate(norms)
    ]
    handles.append(model.module.lm_head.register_forward_hook(lambda *_: calls.append("lm_head")))
    try:
        model.capture(ROWS[0], sites)
        cost = model.explain(ROWS[0], sites)
    finally:
        for handle in handles:
            handle.remove()
    assert [call for call in calls if call != "lm_head"] == list(range(begun))
    assert cost.blocks_run == begun
    assert "lm_head" not in calls


@pytest.mark.parametrize("side", ["left", "right"])
def test_capture_reads_what_run_reads(side):
    model = load_toy("gemma3")
    run = model.run(ROWS, capture=SITES, capture_at=slice(-2, None), padding_side=side).activations
    captured = model.capture(ROWS, SITES, slice(-2, None), padding_side=side)
    assert list(captured) == list(run) == ["blocks.1.heads", *(f"blocks.{i}.resid_post" for i in range(3)), *SITES[2:]]
    for site in captured:
        assert torch.equal(captured[site].nan_to_num(), run[site].nan_to_num())


def test_only_the_asked_positions_are_stored():
    model = load_toy("gpt2")
    whole = model.capture(ROWS[0], "blocks.1.neurons")["blocks.1.neurons"]
    some = model.capture(ROWS[0], "blocks.1.neurons", [3, 0])["blocks.1.neurons"]
    assert some.shape == (1, 2, 64)
    assert some.untyped_storage().nbytes() == 2 * 64 * 8
    assert torch.equal(some[0], whole[0, [3, 0]])


def test_an_activation_is_a_copy_that_the_rest_of_the_pass_cannot_reach():
    model = load_toy("falcon")  # its blocks add the attention output onto the MLP's, in place
    stopped = model.capture(ROWS[0], "blocks.1.mlp_out")
    passed = model.run(ROWS[0], capture="blocks.1.mlp_out", capture_at="all").activations
    assert torch.equal(passed["blocks.1.mlp_out"], stopped["blocks.1.mlp_out"])


def test_ragged_rows_end_in_nan_and_lengths_tell_where():
    acts = load_toy("llama").capture(ROWS, "blocks.1.attn_out")
    assert acts.is_ragged
    assert acts.lengths == (5, 2, 3, 1)
    for n, tensor in zip(acts.lengths, acts["blocks.1.attn_out"], strict=True):
        assert not tensor[:n].isnan().any()
        assert tensor[n:].isnan().all()
    assert not load_toy("llama").capture(ROWS, "blocks.1.attn_out", "last").is_ragged


@pytest.mark.parametrize("positions", ["all", "last", slice(1, None, 2)])
def test_a_streamed_file_holds_what_a_capture_in_memory_holds(positions, tmp_path):
    model = load_toy("gemma3")
    rows = [row for row in ROWS if positions in ("all", "last") or len(row) > 1]
    cost = model.capture_to_file(rows, SITES, tmp_path / "acts.safetensors", positions, batch_size=2)
    stored, held = rh.Activations.load(tmp_path / "acts.safetensors"), model.capture(rows, SITES, positions)
    assert (stored.axes, stored.positions, stored.model) == (held.axes, held.positions, held.model)
    assert list(stored) == list(held)
    for site in held:
        torch.testing.assert_close(stored[site], held[site], rtol=0, atol=1e-12, equal_nan=True)
    assert cost == model.explain(rows, SITES, positions)
    assert cost.bytes == sum(tensor.nbytes for tensor in held.values())
    assert cost.shapes == {site: tuple(tensor.shape) for site, tensor in held.items()}
    assert (cost.n_rows, cost.n_tokens) == (len(rows), sum(map(len, rows)))
    assert cost.stored_tokens == sum(held.lengths)
    header = int.from_bytes((tmp_path / "acts.safetensors").read_bytes()[:8], "little")
    assert (tmp_path / "acts.safetensors").stat().st_size == 8 + header + cost.bytes


def test_saved_activations_load_unchanged(tmp_path):
    acts = load_toy("llama").capture(ROWS, ["blocks.*.heads", "final"], slice(None, 2))
    acts.save(tmp_path / "acts.safetensors")
    loaded = rh.Activations.load(tmp_path / "acts.safetensors")
    assert (loaded.axes, loaded.positions, loaded.model) == (acts.axes, acts.positions, acts.model)
    for site, tensor in acts.items():
        torch.testing.assert_close(loaded[site], tensor, rtol=0, atol=0, equal_nan=True)


def test_a_capture_that_fails_midway_leaves_no_file(tmp_path, monkeypatch):
    model = load_toy("llama")
    monkeypatch.setattr(
        "rheostat.engine.stream.capture_batches", lambda *_, **__: iter([rh.Activations({}, {}, ()), 0])
    )
    with pytest.raises(AttributeError):
        model.capture_to_file(ROWS, "final", tmp_path / "acts.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_overwritten_only_when_asked(tmp_path):
    model, path = load_toy("llama"), tmp_path / "acts.safetensors"
    model.capture_to_file(ROWS, "final", path)
    with pytest.raises(WouldOverwrite):
        model.capture_to_file(ROWS[:1], "final", path)
    assert len(rh.Activations.load(path).positions) == 4
    model.capture_to_file(ROWS[:1], "final", path, overwrite=True)
    assert len(rh.Activations.load(path).positions) == 1


def test_files_that_hold_no_activations_are_refused(tmp_path):
    rh.Plan((rh.Add("final", torch.ones(3)),)).save(tmp_path / "plan.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name in ("plan.safetensors", "text.safetensors", "missing.safetensors"):
        with pytest.raises(FileNotUsable, match=name):
            rh.Activations.load(tmp_path / name)


def test_batches_follow_the_prompts_in_order():
    model = load_toy("llama")
    batches = list(capture_batches(model, ROWS, "final", positions="last", batch_size=3))
    assert [len(batch.positions) for batch in batches] == [3, 1]
    joined = torch.cat([batch["final"] for batch in batches])
    torch.testing.assert_close(joined, model.capture(ROWS, "final", "last")["final"], rtol=0, atol=1e-9)
    with pytest.raises(BadArgument, match="batch_size=0"):
        list(capture_batches(model, ROWS, "final", batch_size=0))


@pytest.mark.parametrize(
    ("family", "path", "width"), [("opt", "model.decoder.layers.1.fc1", 24), ("mixtral", "model.layers.1.mlp.gate", 4)]
)
def test_a_module_that_sees_rows_and_columns_flattened_is_read_per_token(family, path, width):
    model = load_toy(family)
    batch = model.capture(ROWS, path, [-1, 0])
    assert batch[path].shape == (4, 2, width)
    for row, found in zip(ROWS, batch.rows(path), strict=True):
        alone = model.capture(row, path)[path][0]
        torch.testing.assert_close(found, alone[[-1, 0]], rtol=0, atol=1e-9)


def test_what_no_pass_computes_is_refused_by_name():
    model = load_toy("llama")
    with pytest.raises(SiteNotOffered, match=r"model\.layers: the forward pass calls no such module"):
        model.capture(ROWS, "model.layers")
    with pytest.raises(SiteNotOffered, match="not one each"):
        load_toy("mixtral").capture(ROWS, "model.layers.1.mlp.experts.act_fn")
    with pytest.raises(SiteNotFound, match=r"'final' was not captured.*Here: embed"):
        model.capture(ROWS, "embed")["final"]
    with pytest.raises(EmptyPrompt):
        model.capture([], "final")
    with pytest.raises(BadArgument, match="generated"):
        model.capture(ROWS, "final", "generated")
    with pytest.raises(SiteNotOffered, match="only while they run"):
        model.explain(ROWS, "model.layers.1")


def test_gradients_flow_through_a_capture_only_when_asked():
    model = load_toy("llama")
    assert not model.capture(ROWS, "final")["final"].requires_grad
    weight = model.module.model.layers[0].mlp.down_proj.weight
    (gradient,) = torch.autograd.grad(model.capture(ROWS[0], "final", gradients=True)["final"].sum(), weight)
    assert gradient.abs().max() > 0
