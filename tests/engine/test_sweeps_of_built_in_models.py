"""In float32, on the built-in models: a sweep equals one plain forward pass per cell, hooked without our engine."""

import pytest
import torch
from torch import Tensor

import rheostat as rh
from rheostat.engine.cells import patching_cells
from rheostat.engine.prefix import share_runs
from rheostat.engine.sweep import sweep_logits

pytestmark = pytest.mark.slow

TOLERANCE = 1e-5
"""Of the range of the logits."""
PROMPT, DONOR = "The capital of Germany is", "The capital of France is"
EVERY = {"resid_pre": 6, "attn_out": 6, "mlp_out": 6, "heads": 9}
"""One block in so many."""


@torch.no_grad()
def plain(model: rh.Model, edit: rh.Edit) -> Tensor:
    """Return the last logits of one forward pass in which a hook puts the edit's value into one tensor."""
    ids = torch.tensor([model.encode(PROMPT)])
    tap = model.anatomy.tap(edit.site.rpartition(".")[2], int(edit.site.split(".")[1]))
    position, value = edit.where.value, edit.source

    def put(tensor: Tensor) -> Tensor:
        new = tensor.clone()
        units = slice(None) if edit.units is None else list(edit.units)
        new[0, position].view(value.shape)[units] = value[units]
        return new

    def before(_module: object, args: tuple[Tensor, ...], kwargs: dict[str, object]) -> object:
        return ((put(args[0]), *args[1:]), kwargs)

    def after(_module: object, _args: object, output: Tensor | tuple[Tensor, ...]) -> object:
        return put(output) if isinstance(output, Tensor) else (put(output[0]), *output[1:])

    part = model.part(tap.module)
    if tap.side == "in":
        handle = part.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = part.register_forward_hook(after)
    with handle:
        return model.module(ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0, -1]


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "gemma3-270m"])
def test_a_sweep_in_float32_equals_a_plain_loop(name, kind):
    model = rh.load(name)
    sites = [f"blocks.{block}.{kind}" for block in range(0, model.n_blocks, EVERY[kind])]
    clean, donor = share_runs(model, [PROMPT, DONOR], sites)
    differ = next(i for i, (a, b) in enumerate(zip(clean.row.ids, donor.row.ids, strict=True)) if a != b)
    cells = patching_cells(
        donor.activations(model, sites), positions=[differ - 1, differ, -1 + len(clean.row)], by_unit=kind == "heads"
    )
    found = sweep_logits(model, PROMPT, cells, shared=[clean])[:, 0, 0]
    unedited = clean.logits[0]
    size = float(unedited.max() - unedited.min())
    worst, moved = 0.0, []
    for cell, logits in zip(cells, found, strict=True):
        wanted = plain(model, cell.plan.edits[0])
        worst = max(worst, float((logits - wanted).abs().max()))
        if cell.labels["position"] < differ:
            assert torch.equal(logits, unedited), cell.labels
        else:
            moved.append(float((wanted - unedited).abs().max()) > 10 * TOLERANCE * size)
    assert worst < TOLERANCE * size, worst / size
    assert sum(moved) > 0.7 * len(moved)  # single heads of block 0 barely matter where the token is the same
