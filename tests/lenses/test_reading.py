"""A reading is what a plain softmax of the final norm and the unembedding says, at every block, point and position."""

import math

import pandas as pd
import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, NotOneToken, SiteNotOffered
from rheostat.lenses import reading
from rheostat.models.toy import D_VOCAB, N_BLOCKS, TOYS, toy
from tests.contract.conftest import load_toy, word_tokenizer

PROMPT = "w5 w9 w30 w12 w7"
IDS = [5, 9, 30, 12, 7]
POINTS = ("resid_pre", "attn_in", "attn_out", "resid_mid", "mlp_in", "mlp_out", "resid_post")
PLACE = ["block", "point", "position"]


def softmax(logits: list[float]) -> list[float]:
    powers = [math.exp(one - max(logits)) for one in logits]
    return [one / sum(powers) for one in powers]


def plain_logits(model: rh.Model, vector: torch.Tensor) -> list[float]:
    """Layer norm and unembedding, written out."""
    norm, head = model.module.transformer.ln_f, model.module.lm_head
    centred = vector - vector.mean()
    scaled = centred / (centred.square().mean() + norm.eps).sqrt() * norm.weight.detach() + norm.bias.detach()
    return [float((row * scaled).sum()) for row in head.weight.detach()]


def own_logits(model: rh.Model, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model.module(torch.tensor([ids])).logits[0]


@pytest.mark.parametrize("edits", [None, rh.Zero("blocks.0.mlp_out", positions=1)], ids=["plain", "edited"])
def test_every_number_is_that_of_a_plain_softmax(edits):
    model = load_toy("gpt2")
    found = model.lens(PROMPT, positions="all", points=POINTS, k=4, track=["w44", "w7"], edits=edits)
    run = model.run(IDS, edits, capture=[f"blocks.*.{p}" for p in POINTS], capture_at="all", logits_at="all")
    summary, table, tracked = (one.set_index(PLACE) for one in (found.summary, found.table, found.tracked))
    assert list(summary.index) == [(b, p, i) for b in range(N_BLOCKS) for p in POINTS for i in range(5)]
    for block, point, position in summary.index:
        vector = run.activations[f"blocks.{block}.{point}"][0, position]
        p, own = softmax(plain_logits(model, vector)), softmax(run.logits[0, position].tolist())
        order = sorted(range(D_VOCAB), key=lambda token, p=p: -p[token])
        row, top, chosen = (one.loc[(block, point, position)] for one in (summary, table, tracked))
        assert row["entropy"] == pytest.approx(-sum(x * math.log(x) for x in p), abs=1e-9)
        assert row["kl"] == pytest.approx(sum(x * math.log(x / y) for x, y in zip(p, own, strict=True)), abs=1e-9)
        assert (row["top_token"], row["top_probability"]) == (
            word_tokenizer().convert_ids_to_tokens(order[0]),
            pytest.approx(p[order[0]], abs=1e-9),
        )
        assert list(top["token_id"]) == order[:4]
        assert list(top["rank"]) == [1, 2, 3, 4]
        assert list(top["probability"]) == pytest.approx([p[token] for token in order[:4]], abs=1e-6)
        assert list(chosen["token"]) == ["w44", "w7"]
        assert list(chosen["rank"]) == [order.index(token) + 1 for token in (44, 7)]
        assert list(chosen["probability"]) == pytest.approx([p[44], p[7]], abs=1e-6)


def test_final_is_the_models_own_output_without_rheostat():
    model = load_toy("gpt2")
    found = model.lens(PROMPT, positions=[3, -1], k=3).final
    for position in (3, 4):
        top = own_logits(model, IDS)[position].softmax(-1).topk(3)
        rows = found[found["position"] == position]
        assert list(rows["token_id"]) == top.indices.tolist()
        assert list(rows["probability"]) == pytest.approx(top.values.tolist(), abs=1e-6)


@pytest.mark.parametrize("name", TOYS)
def test_the_last_resid_post_reads_the_models_own_output_and_the_first_does_not(name):
    found = load_toy(name).lens(PROMPT, positions="all", k=1)
    kl = found.summary.set_index(["point", "block"])["kl"].loc["resid_post"]
    assert kl.loc[N_BLOCKS - 1].abs().max() < 1e-6
    assert kl.loc[0].min() > 1e-6
    last = found.summary.query(f"point == 'resid_post' and block == {N_BLOCKS - 1}")
    assert list(last["top_token"]) == list(found.final["token"])


@pytest.mark.parametrize("rows_per_chunk", [1, 2, 7, 12])
def test_chunks_change_nothing(rows_per_chunk, monkeypatch):
    model = load_toy("llama")
    arguments = {"positions": [4, 0, 2, 1], "track": ["w44"], "k": 5}
    whole = model.lens(PROMPT, **arguments)
    sizes = []
    decode = rh.LogitLens.logits
    monkeypatch.setattr(reading, "CHUNK_BYTES", rows_per_chunk * D_VOCAB * 8)
    monkeypatch.setattr(
        rh.LogitLens, "logits", lambda lens, one, *, site=None: (sizes.append(len(one)), decode(lens, one))[1]
    )
    parts = model.lens(PROMPT, **arguments)
    assert max(sizes) <= rows_per_chunk and sum(sizes) == 4 * 4 * N_BLOCKS
    for name in ("table", "summary", "tracked", "final"):
        pd.testing.assert_frame_equal(getattr(parts, name), getattr(whole, name), rtol=0, atol=1e-12)


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("n_columns", [1000, 1024, 640, 641, 12])
def test_the_search_by_groups_finds_the_largest(k, n_columns):
    values = torch.randn(6, n_columns, generator=torch.Generator().manual_seed(n_columns))
    values[0, :12] += 50
    values[1, -12:] += 50
    values[2, ::97] += 50
    top, columns = reading.top_of_rows(values, k)
    expected = values.sort(dim=-1, descending=True)
    assert torch.equal(top, expected.values[:, :k])
    assert torch.equal(columns, expected.indices[:, :k])


def test_half_precision_is_read_in_single_precision():
    model = rh.load(toy("llama", dtype=torch.bfloat16), tokenizer=word_tokenizer())
    found = model.lens(PROMPT, k=1)
    vector = model.capture(PROMPT, "blocks.0.attn_out", "last")["blocks.0.attn_out"][0, 0]
    p = model.unembed(vector).detach().float().log_softmax(-1)
    (row,) = found.summary.query("block == 0 and point == 'attn_out'").to_dict("records")
    assert row["entropy"] == pytest.approx(float(-(p.exp() * p).sum()), abs=1e-5)
    assert found.summary["kl"].iloc[-1] == pytest.approx(0, abs=1e-5)


def test_a_lens_without_a_tokenizer_shows_token_ids():
    found = rh.load(toy("gpt2")).lens(IDS, k=2)
    assert list(found.table["token"]) == [str(token) for token in found.table["token_id"]]
    assert found.row_tokens == ("5", "9", "30", "12", "7")


def test_a_reading_prints_and_draws_the_last_position_read():
    found = load_toy("llama").lens(PROMPT, positions=[0, 3], k=2, track=["w44"])
    top = found.table.query("rank == 1 and position == 3").set_index(["block", "point"])
    lines = str(found).splitlines()
    assert lines[0].endswith("token 3 (w12)")
    assert lines[3].split()[:2] == ["2", top.loc[(2, "attn_out"), "shown"]]
    grid = found.grid().table
    assert list(grid["y"].unique()) == [2, 1, 0]
    for _, cell in grid.iterrows():
        assert (cell["text"], cell["value"]) == tuple(top.loc[(cell["y"], cell["x"]), ["shown", "probability"]])
    tracked = found.tracked.query("position == 0").set_index(["block", "point"])
    for _, cell in found.grid(position=0, track="w44").table.iterrows():
        assert cell["value"] == tracked.loc[(cell["y"], cell["x"]), "probability"]
    assert set(found.rows()[0]) == {"block", "point", "position", "token", "probability", "rank"}


def test_a_point_that_the_family_lacks_is_left_out_unless_asked_by_name():
    model = load_toy("gpt_neox")
    assert set(model.lens(PROMPT, k=1).summary["point"]) == {"attn_out", "mlp_out", "resid_post"}
    with pytest.raises(SiteNotOffered, match="run in parallel"):
        model.lens(PROMPT, points=("resid_mid",))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": 0}, BadArgument, "from 1 to 64"),
        ({"k": D_VOCAB + 1}, BadArgument, "from 1 to 64"),
        ({"points": ("resid_pots",)}, BadArgument, "Closest: resid_post"),
        ({"points": ("heads",)}, BadArgument, "no decode point 'heads'"),
        ({"track": ["w5 w6"]}, NotOneToken, r"w5 \| w6"),
    ],
)
def test_what_cannot_be_read_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        load_toy("llama").lens(PROMPT, **arguments)
    with pytest.raises(BadArgument, match=r"track=\['w8'\]"):
        load_toy("llama").lens(PROMPT, k=1).grid(track="w8")
