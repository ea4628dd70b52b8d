"""Networks too large for one place: weights that accelerate keeps elsewhere, and blocks that processes share out."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model
from transformers import AutoModelForCausalLM

import rheostat as rh
from rheostat.models.toy import toy

PROMPTS = [[5, 9, 30, 12, 7], [44, 8, 17]]
KINDS = ("resid_pre", "attn_in", "attn_out", "resid_mid", "mlp_in", "mlp_out", "resid_post")
DIVIDED = ("heads", "neurons", "pattern")
CPU = torch.device("cpu")
DISK = dict.fromkeys(("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), "cpu") | {
    "model.layers.0": "cpu",
    "model.layers.1": "disk",
    "model.layers.2": "cpu",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    toy("llama", dtype=torch.float64).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whole(folder) -> rh.Model:
    return rh.load(AutoModelForCausalLM.from_pretrained(folder))


def assert_same(model: rh.Model, whole: rh.Model, kinds: tuple[str, ...]) -> None:
    """Hold captures, edits, a sweep and generation against those of the network in one place."""
    clean = whole.run(PROMPTS).logits
    for kind in kinds:
        shape = whole.body.shape(kind)
        edit = rh.Add(f"blocks.1.{kind}", torch.linspace(-1, 3, math.prod(shape)).view(shape), positions="last")
        wanted = whole.run(PROMPTS, edit).logits
        torch.testing.assert_close(model.run(PROMPTS, edit).logits.cpu(), wanted, rtol=0, atol=1e-9)
        assert (wanted - clean).abs().max() > 1e-2
        for name, tensor in whole.capture(PROMPTS, f"blocks.*.{kind}").items():
            mine = model.capture(PROMPTS, name)[name].cpu()
            torch.testing.assert_close(mine, tensor, rtol=0, atol=1e-9, equal_nan=True)
    cells = [rh.Scale(f"blocks.{block}.{kind}", 3.0, positions=1) for block in range(3) for kind in kinds]
    tables = [one.sweep(PROMPTS, cells, rh.Probability(7))["probability"].to_numpy() for one in (model, whole)]
    assert tables[0] == pytest.approx(tables[1], abs=1e-9)
    written = [one.generate(PROMPTS, cells[0], max_new_tokens=4).ids for one in (model, whole)]
    assert written[0] == written[1]
    assert model.check([5, 9, 30]).holds
    assert model.weight_hash == whole.weight_hash


@pytest.mark.parametrize("how", ["device_map", "cpu_offload", "disk_offload", "partly on disk"])
def test_weights_that_lie_elsewhere_give_the_same_numbers(how, folder, whole, tmp_path):
    if how == "device_map":
        module = AutoModelForCausalLM.from_pretrained(folder, device_map={"": "cpu"})
    elif how == "partly on disk":
        module = AutoModelForCausalLM.from_pretrained(folder, device_map=DISK, offload_folder=tmp_path)
    else:
        module = AutoModelForCausalLM.from_pretrained(folder)
        if how == "cpu_offload":
            cpu_offload(module, execution_device=CPU)
        else:
            disk_offload(module, tmp_path, execution_device=CPU)
    assert any(p.device.type == "meta" for p in module.parameters()) == (how != "device_map")
    assert_same(rh.load(module), whole, (*KINDS, "heads", "neurons"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="blocks on two devices need a GPU beside the CPU")
def test_blocks_on_two_devices_give_the_same_numbers(folder, whole):
    places = {name: "cpu" if name != "model.layers.1" else 0 for name in DISK}
    module = dispatch_model(AutoModelForCausalLM.from_pretrained(folder), places, main_device="cpu")
    assert module.model.layers[1].mlp.up_proj.weight.device.type == "cuda"
    assert_same(rh.load(module), whole, (*KINDS, "heads", "neurons"))


def on_each_rank(folder: str) -> None:
    """Run in each of two processes, which share the network out."""
    import torch.distributed as dist
    from transformers.distributed import DistributedConfig

    divided = DistributedConfig(tp_plan="auto")
    module = AutoModelForCausalLM.from_pretrained(folder, distributed_config=divided)
    model = rh.load(module)
    assert dist.get_world_size() == 2
    assert module.model.layers[0].self_attn.o_proj.weight.to_local().shape == (16, 8)
    assert_same(model, rh.load(AutoModelForCausalLM.from_pretrained(folder)), KINDS)
    for kind in DIVIDED:
        with pytest.raises(rh.RheostatError, match=f"offers no blocks.1.{kind}: the network is divided"):
            model.capture(PROMPTS, f"blocks.1.{kind}")
    Path(folder, f"rank-{dist.get_rank()}").touch()
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_that_share_out_the_blocks_hold_the_same_residual_stream(folder):
    code = "import sys; from tests.models.test_spread import on_each_rank; on_each_rank(sys.argv[1])"
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    done = subprocess.run(
        [*start, sys.executable, "-c", code, str(folder)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert {path.name for path in folder.glob("rank-*")} == {"rank-0", "rank-1"}
