"""Causal tracing equals one run per place, finds what is planted, and its noise depends on nothing but its key."""

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, EditNotUsable
from rheostat.edit.noise import keyed_noise
from rheostat.models.toy import toy
from rheostat.sweeps.targets import block_window
from rheostat.tracing.causal_tracing import causal_trace, subject_std
from rheostat.tracing.restoration import scaled_window
from tests.contract.conftest import CORE, load_toy

PROMPT, SUBJECT, ANSWER, STD = [5, 9, 30, 12, 7, 8], [1, 2], 3, 0.3
WIDTH = 16


def noise(draw: int, seed: int = 0) -> rh.Add:
    return rh.Add("embed", STD * keyed_noise("embed", SUBJECT, WIDTH, seed=seed, draw=draw), positions=SUBJECT)


def probability(model: rh.Model, edits: list[rh.Edit]) -> float:
    return float(model.run(PROMPT, edits).logits[0, -1].softmax(-1)[ANSWER])


def trace(model: rh.Model, **settings):
    return causal_trace(model, PROMPT, **({"subject": SUBJECT, "answer": ANSWER, "noise_std": STD} | settings))


# --- noise ------------------------------------------------------------------------------------------------------------


def test_a_tokens_noise_depends_on_its_key_alone():
    together = keyed_noise("embed", [4, 1, 7], WIDTH, seed=3, draw=5)
    torch.randn(10)
    for row, token in enumerate((4, 1, 7)):
        assert torch.equal(keyed_noise("embed", [token], WIDTH, seed=3, draw=5)[0], together[row])
    others = [
        keyed_noise("embed", [4], WIDTH, seed=2, draw=5),
        keyed_noise("embed", [4], WIDTH, seed=3, draw=4),
        keyed_noise("embed", [5], WIDTH, seed=3, draw=5),
        keyed_noise("final", [4], WIDTH, seed=3, draw=5),
    ]
    for other in others:
        assert not torch.equal(other[0], together[0])


def test_keyed_noise_is_standard_normal():
    drawn = keyed_noise("embed", list(range(100)), 500, seed=0, draw=0)
    assert float(drawn.mean()) == pytest.approx(0, abs=0.02)
    assert float(drawn.std()) == pytest.approx(1, abs=0.02)


def test_the_draws_of_a_trace_are_the_same_however_many_there_are():
    model = load_toy("llama")
    one, two = trace(model, draws=1, blocks=()), trace(model, draws=2, blocks=())
    assert one.corrupted == pytest.approx(probability(model, [noise(0)]), abs=1e-9)
    assert 2 * two.corrupted - one.corrupted == pytest.approx(probability(model, [noise(1)]), abs=1e-9)
    assert trace(model, draws=1, blocks=(), seed=1).corrupted != pytest.approx(one.corrupted, abs=1e-6)


def test_the_spread_of_subjects_is_over_all_elements():
    model = load_toy("llama")
    found = subject_std(model, [PROMPT, [5, 6, 7]], [SUBJECT, [0]])
    embedding = model.module.get_input_embeddings().weight.detach()
    assert found == pytest.approx(float(embedding[[9, 30, 5]].std()), rel=1e-6)
    default = causal_trace(model, PROMPT, subject=SUBJECT, draws=1, blocks=())
    assert default.noise_std == pytest.approx(3 * float(embedding[[9, 30]].std()), rel=1e-6)


# --- effects ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "window", "severed"),
    [
        ("resid_post", None, None),
        ("resid_pre", None, None),
        ("mlp_out", 2, None),
        ("attn_out", None, None),
        ("resid_post", None, "mlp_out"),
        ("resid_pre", None, "attn_out"),
    ],
)
def test_every_place_equals_a_run_of_its_own(kind, window, severed):
    model = load_toy("llama")
    found = trace(model, kind=kind, window=window, severed=severed, draws=2, positions=[1, 4, 5])
    clean = model.capture(PROMPT, f"blocks.*.{kind}")
    assert len(found.table) == 9
    for row in found.table.to_dict("records"):
        block, at = row["block"], row["position"]
        blocks = range(max(0, block - 1), block + 1) if window == 2 else [block]
        wanted = 0.0
        for draw in range(2):
            edits = [noise(draw)]
            edits += [
                rh.Replace(f"blocks.{b}.{kind}", clean[f"blocks.{b}.{kind}"][0, at], positions=at) for b in blocks
            ]
            if severed:
                noised = model.capture(PROMPT, f"blocks.*.{severed}", edits=noise(draw))
                for b in range(block + (kind == "resid_post"), 3):
                    name = f"blocks.{b}.{severed}"
                    edits.append(rh.Replace(name, noised[name][0, at], positions=at))
            wanted += probability(model, edits) / 2
        assert row["probability"] == pytest.approx(wanted, abs=1e-9)
        assert row["indirect_effect"] == pytest.approx(wanted - found.corrupted, abs=1e-9)
        assert row["subject"] == (at in SUBJECT)
    assert found.table["indirect_effect"].abs().max() > 1e-4


@pytest.mark.parametrize("family", CORE)
def test_putting_everything_back_gives_the_total_effect_exactly(family):
    found = trace(load_toy(family), draws=2, noise_std=1.0)
    assert abs(found.total_effect) > 1e-5
    assert found.all_back == pytest.approx(found.clean, abs=1e-9)
    at_end = found.table[(found.table["block"] == 2) & (found.table["position"] == len(PROMPT) - 1)]
    assert at_end["indirect_effect"].item() == pytest.approx(found.total_effect, abs=1e-9)


def test_without_noise_nothing_is_lost_and_nothing_comes_back():
    found = trace(load_toy("gemma3"), draws=2, noise_std=0.0)
    assert found.total_effect == pytest.approx(0, abs=1e-12)
    assert found.table["indirect_effect"].abs().max() < 1e-12


def test_what_stands_before_the_noise_has_no_effect():
    found = trace(load_toy("llama"), draws=1)
    effects = found.table.set_index("position")["indirect_effect"]
    assert (effects[0] == 0).all()
    assert (effects[2] != 0).any()


def test_the_answer_is_the_models_own_unless_one_is_given():
    model = load_toy("llama")
    top = int(model.run(PROMPT).logits[0, -1].argmax())
    found = causal_trace(model, PROMPT, subject=SUBJECT, draws=1, blocks=())
    assert found.clean == pytest.approx(float(model.run(PROMPT).logits[0, -1].softmax(-1)[top]), abs=1e-9)
    assert found.answer == f"w{top}"


# --- planted ----------------------------------------------------------------------------------------------------------


def test_a_fact_that_moves_between_tokens_in_one_block_is_found_there():
    """Only block 1 attends: until then the subject's states carry everything, from then on the last token's do."""
    module = toy("llama", dtype=torch.float64)
    with torch.no_grad():
        for block in (0, 2):
            module.model.layers[block].self_attn.o_proj.weight.zero_()
    found = causal_trace(rh.load(module), PROMPT, subject=[2], answer=ANSWER, noise_std=1.0, draws=2)
    effect = found.table.pivot(index="position", columns="block", values="indirect_effect") / found.total_effect
    assert effect.loc[2].tolist() == pytest.approx([1, 0, 0], abs=1e-9)
    assert effect.loc[5].tolist() == pytest.approx([0, 1, 1], abs=1e-9)
    assert effect.drop([2, 5]).abs().to_numpy().max() < 1e-9


@pytest.mark.parametrize(("planted", "other"), [("mlp_out", "attn_out"), ("attn_out", "mlp_out")])
def test_noise_in_one_sublayer_is_undone_there_and_nowhere_else(planted, other):
    settings = {"subject": [2], "noise_at": f"blocks.1.{planted}", "noise_std": 2.0, "draws": 2, "positions": [2]}
    own, rival = (trace(load_toy("llama"), **settings, kind=kind, window=1) for kind in (planted, other))
    effect = own.table.set_index("block")["indirect_effect"]
    assert effect[1] == pytest.approx(own.total_effect, abs=1e-9)
    assert abs(own.total_effect) > 1e-4
    assert effect[0] == pytest.approx(0, abs=1e-9)
    missing = (rival.table["indirect_effect"] - own.total_effect).abs()
    assert missing.min() > 0.01 * abs(own.total_effect)


# --- windows, picture, mistakes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("centre", "window", "blocks"),
    [
        (15, 10, range(10, 20)),
        (2, 10, range(7)),
        (47, 10, range(42, 48)),
        (15, 1, range(15, 16)),
        (15, 3, range(14, 17)),
        (0, 2, range(1)),
    ],
)
def test_a_window_begins_half_its_width_before_its_centre(centre, window, blocks):
    assert block_window(centre, window, 48) == blocks


@pytest.mark.parametrize(("n_blocks", "width"), [(48, 10), (30, 6), (18, 4), (3, 1), (1, 1)])
def test_windows_shrink_with_depth(n_blocks, width):
    assert scaled_window(n_blocks) == width


def test_the_picture_has_tokens_by_blocks_with_the_subject_starred():
    grid = trace(load_toy("llama"), draws=1).grid()
    assert len(grid.table) == 18
    assert [name for name in grid.table["y"].unique() if name.endswith("*")] == ["1 w9*", "2 w30*"]
    assert grid.table["x"].tolist()[:3] == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"draws": 0}, BadArgument, "at least one draw"),
        ({"noise_std": -1.0}, BadArgument, "0 or above"),
        ({"noise_std": float("nan")}, BadArgument, "0 or above"),
        ({"window": 0}, BadArgument, "at least 1"),
        ({"blocks": [3]}, BadArgument, "0 to 2"),
        ({"severed": "resid_post"}, BadArgument, "attn_out, mlp_out"),
        ({"kind": "mlp_out", "severed": "mlp_out"}, BadArgument, "another"),
        ({"noise_at": "blocks.*.mlp_out"}, EditNotUsable, "one site"),
        ({"noise_at": "blocks.0.heads"}, EditNotUsable, "one site"),
    ],
)
def test_what_cannot_be_traced_is_refused(change, error, says):
    with pytest.raises(error, match=says):
        trace(load_toy("llama"), **change)


@pytest.mark.slow
def test_a_known_fact_is_carried_by_its_last_subject_token_on_a_real_model():
    model = rh.load("smollm2-135m-instruct")
    prompt = "The city of Marseille is located in the country of"
    found = causal_trace(model, prompt, subject="Marseille", blocks=[6, 12], positions=[3, 5, 6, 11], draws=2)
    share = found.table[found.table["block"] == 12].set_index("position")["indirect_effect"] / found.total_effect
    assert found.answer == "␣France"
    assert found.total_effect > 0.5
    assert share[5] > 0.5
    assert share.drop(5).abs().max() < 0.2
