"""Every way to name a site leads to the tensor that it says, or to a refusal that names what would do."""

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import SiteNotFound, SiteNotOffered
from rheostat.models.toy import TOYS, toy
from rheostat.sites.site import Site, resolve, resolve_single
from tests.contract.conftest import load_toy

ROW = [5, 9, 30, 12, 7]
PARALLEL = ("gpt_neox", "gptj", "phi", "falcon")

LLAMA = {
    "resid_pre": ":in",
    "attn_in": "self_attn:in",
    "heads": "self_attn.o_proj:in",
    "attn_out": "self_attn",
    "resid_mid": "post_attention_layernorm:in",
    "mlp_in": "mlp:in",
    "neurons": "mlp.down_proj:in",
    "mlp_out": "mlp",
    "resid_post": "",
}
"""Where each kind of site is in a Llama block."""

ALIASES = {
    "hook_resid_pre": "resid_pre",
    "hook_in": "resid_pre",
    "hook_resid_mid": "resid_mid",
    "hook_resid_post": "resid_post",
    "hook_out": "resid_post",
    "hook_attn_out": "attn_out",
    "hook_mlp_out": "mlp_out",
    "attn.hook_z": "heads",
    "mlp.hook_post": "neurons",
}


def names(model: rh.Model, asked: object) -> list[str]:
    return [str(site) for site in resolve(model, asked)]


@pytest.mark.parametrize(("kind", "where"), LLAMA.items())
def test_every_kind_is_the_tensor_that_a_plain_hook_sees(kind, where, peek):
    model = load_toy("llama")
    path, _, side = where.partition(":")
    expected = peek(model, ROW, f"model.layers.1.{path}".rstrip(".") + (f":{side}" if side else ""))
    found = model.capture(ROW, f"blocks.1.{kind}")[f"blocks.1.{kind}"]
    assert torch.equal(found.flatten(2), expected)


@pytest.mark.parametrize(
    ("site", "where"),
    [("embed", "transformer.h.0:in"), ("final", "transformer.ln_f"), ("logits", "")],
)
def test_the_sites_of_the_whole_model_are_what_a_plain_hook_sees(site, where, peek):
    model = load_toy("gpt2")
    assert torch.equal(model.capture(ROW, site)[site], peek(model, ROW, where))


@pytest.mark.parametrize(("alias", "kind"), ALIASES.items())
def test_a_transformer_lens_name_is_its_site(alias, kind):
    assert names(load_toy("llama"), f"blocks.1.{alias}") == [f"blocks.1.{kind}"]


@pytest.mark.parametrize("family", ["llama", "gemma3"])
@pytest.mark.parametrize(
    "name",
    ["hook_mlp_in", "hook_attn_in", "attn.hook_out", "mlp.hook_out", "mlp.hook_pre", "attn.hook_q", "ln1.hook_scale"],
)
def test_a_transformer_lens_name_of_another_tensor_is_refused(family, name):
    with pytest.raises(SiteNotFound):
        resolve(load_toy(family), f"blocks.1.{name}")


@pytest.mark.parametrize("name", TOYS)
def test_heads_and_neurons_are_what_the_projections_make_the_sublayers_outputs_of(name):
    model = load_toy(name)
    seen = model.capture(ROW, [f"blocks.1.{kind}" for kind in model.anatomy.kinds if kind != "pattern"])
    for inner, outer in (("heads", "attn_out"), ("neurons", "mlp_out")):
        if inner not in model.anatomy.taps:
            continue
        projected = model.part(model.anatomy.tap(inner, 1).module)(seen[f"blocks.1.{inner}"].flatten(2)).detach()
        if name.startswith("gemma"):
            projected = model.part(model.anatomy.tap(outer, 1).module)(projected).detach()
        torch.testing.assert_close(projected, seen[f"blocks.1.{outer}"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "bloom", "falcon"])
def test_pattern_is_the_attention_that_transformers_returns(name):
    model = rh.load(toy(name, attention="eager"))
    with torch.no_grad():
        expected = model.module(input_ids=torch.tensor([ROW]), output_attentions=True).attentions
    rows = [ROW, [44, 8]]
    for side in ("left", "right"):
        found = model.capture(rows, "blocks.*.pattern", padding_side=side)
        for block, weights in enumerate(expected):
            pattern = found[f"blocks.{block}.pattern"]
            torch.testing.assert_close(pattern[0], weights[0], rtol=0, atol=1e-6)
            torch.testing.assert_close(pattern[1, :, :2, :2].sum(-1), torch.ones(4, 2), rtol=0, atol=1e-6)
            assert pattern[1, :, 2:].isnan().all() and pattern[1, :, :, 2:].isnan().all()


def test_pattern_is_refused_without_eager_attention_and_never_edited():
    with pytest.raises(SiteNotOffered, match="attention='eager'"):
        load_toy("llama").capture(ROW, "blocks.1.pattern")
    with pytest.raises(SiteNotOffered, match="cut with CutAttention"):
        load_toy("llama").run(ROW, rh.Zero("blocks.1.pattern"))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("blocks.*.mlp_out", ["blocks.0.mlp_out", "blocks.1.mlp_out", "blocks.2.mlp_out"]),
        ("blocks.1-2.resid_post", ["blocks.1.resid_post", "blocks.2.resid_post"]),
        ("blocks.-1.resid_post", ["blocks.2.resid_post"]),
        ("blocks.*.hook_out", ["blocks.0.resid_post", "blocks.1.resid_post", "blocks.2.resid_post"]),
        (("resid_post", 1), ["blocks.1.resid_post"]),
        (("resid_post", -1), ["blocks.2.resid_post"]),
        (Site("mlp_out", 1), ["blocks.1.mlp_out"]),
        (["final", "blocks.0.mlp_out", "blocks.*.mlp_out"], ["final"] + [f"blocks.{i}.mlp_out" for i in range(3)]),
        ("model.layers.1", ["model.layers.1"]),
        ("model.layers.1:in", ["model.layers.1:in"]),
        ("model.layers.*.mlp:in", ["model.layers.0.mlp:in", "model.layers.1.mlp:in", "model.layers.2.mlp:in"]),
    ],
)
def test_names_and_patterns_mean_these_sites(asked, expected):
    assert names(load_toy("llama"), asked) == expected


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("blocks.1.mlp.ot", r"Closest: blocks\.1\.mlp_out"),
        ("blcks.1.mlp_out", r"Closest: blocks\.1\.mlp_out"),
        ("finl", "Closest: final"),
        ("blocks.3.mlp_out", "it has blocks 0 to 2"),
        ("blocks.-4.mlp_out", "it has blocks 0 to 2"),
        ("blocks.1-3.mlp_out", "it has blocks 0 to 2"),
        ("blocks.2-1.mlp_out", "it has blocks 0 to 2"),
        ("model.layers.1:out", "no site"),
        ("model.layers.3", "no site"),
        ("transformer.*", "no site"),
        ("", "no site"),
    ],
)
def test_a_name_that_nothing_has_is_refused(asked, message):
    with pytest.raises(SiteNotFound, match=message):
        resolve(load_toy("llama"), asked)


def test_where_one_site_is_needed_a_pattern_of_several_is_refused():
    assert resolve_single(load_toy("llama"), "blocks.-1.mlp_out") == Site("mlp_out", 2)
    with pytest.raises(SiteNotFound, match="matches 3 sites"):
        resolve_single(load_toy("llama"), "blocks.*.mlp_out")


@pytest.mark.parametrize(
    ("family", "kind", "why"),
    [(name, "resid_mid", "attention and MLP run in parallel") for name in PARALLEL]
    + [("mixtral", "neurons", "the experts' weights are fused")],
)
def test_a_site_that_the_family_lacks_is_refused_with_the_reason(family, kind, why):
    model = load_toy(family)
    for name in (f"blocks.1.{kind}", f"blocks.*.{kind}"):
        with pytest.raises(SiteNotOffered, match=why):
            resolve(model, name)
    notes = model.site_table().set_index("site")["note"]
    assert why in notes[f"blocks.*.{kind}"]
    assert not [name for name in model.sites() if name.endswith(kind)]


@pytest.mark.parametrize("name", TOYS)
def test_every_listed_site_resolves_to_itself_and_has_the_listed_shape(name):
    model = load_toy(name)
    table = model.site_table(every=True)
    listed = [site for site in table["site"] if not site.endswith(".pattern")]
    assert [str(site) for site in resolve(model, model.sites())] == model.sites() == list(table["site"])
    shapes = table.set_index("site")["shape"]
    for site, tensor in model.capture(ROW, listed).items():
        assert " × ".join(map(str, tensor.shape[2:])) == shapes[site]
