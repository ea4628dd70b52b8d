"""`rheostat steer`: texts side by side, on a toy model, from files and from a contrast pair."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import rheostat as rh
from rheostat.directions.direction import Direction
from rheostat.directions.directions import Directions
from tests.cli.conftest import Type
from tests.cli.test_bad_input import refused

PROMPT = "The capital of Germany is"
KINDS = ("safetensors", "gguf")
FEW = ("--max-new-tokens", "4")


@pytest.fixture
def files(tiny: str, type_in: Type) -> str:
    """Write two concepts, at both blocks, and neutral texts; return the model."""
    model = rh.load(tiny)
    for seed, concept in enumerate(("power", "morality")):
        vectors = torch.randn(2, 16, generator=torch.Generator().manual_seed(seed))
        sites = [f"blocks.{block}.resid_post" for block in range(2)]
        found = {
            site: Direction(concept, site, vector, "planted", model.name, model.weight_hash)
            for site, vector in zip(sites, vectors, strict=True)
        }
        Directions(found).save(f"{concept}.safetensors")
    Path("neutral.txt").write_text("The capital of France is Paris\n\nParis is the capital of France\n")
    return tiny


def shown(type_in: Type, *arguments: str) -> dict[str, object]:
    typed = type_in("steer", PROMPT, *arguments, *FEW, "--json")
    assert (typed.code, typed.err) == (0, "")
    return json.loads(typed.out)


def test_two_concepts_in_order_with_their_weights_as_in_python(type_in: Type, files: str):
    where = ("--block", "1", "--strength", "1.5", "--positions", "generated", "--decay", "0.9", "--keep-norm")
    found = shown(
        type_in, "--direction", "+power.safetensors:2", "--direction", "-morality.safetensors", *where, "--model", files
    )
    model = rh.load(files)
    vectors = [Directions.load(f"{name}.safetensors")["blocks.1.resid_post"].vector for name in ("power", "morality")]
    options = {"positions": "generated", "decay": 0.9, "keep_norm": True}
    plan = [
        rh.Add("blocks.1.resid_post", vectors[0], strength=3.0, **options),
        rh.Add("blocks.1.resid_post", vectors[1], strength=-1.5, **options),
    ]
    assert found["edits"] == [str(edit) for edit in plan]
    alone = model.generate(PROMPT, plan, max_new_tokens=4)
    assert found["rows"] == [
        {"prompt": PROMPT, "plain": model.generate(PROMPT, max_new_tokens=4).text, "steered": alone.text}
    ]
    assert found["receipt"]["tokens"] == alone.receipt.tokens
    assert found["control_receipt"] is None and found["search"] is None


def test_directions_of_other_weights_are_refused_unless_asked_for(type_in: Type, files: str):
    described = Directions.load("power.safetensors")
    Directions({site: replace(one, weights="others") for site, one in described.items()}).save("others.safetensors")
    where = ("--block", "1", "--model", files)
    line = refused(type_in, "steer", PROMPT, "--direction", "others.safetensors", *where, *FEW)
    assert "whose weights are not those" in line and "--any-weights" in line
    taken = shown(type_in, "--direction", "others.safetensors", "--any-weights", *where)
    assert taken["rows"] == shown(type_in, "--direction", "power.safetensors", *where)["rows"]
    contrast = ("--contrast", " Paris", " Berlin", "--any-weights", *where)
    assert "--any-weights is about the files of --direction" in refused(type_in, "steer", PROMPT, *contrast, *FEW)


@pytest.mark.parametrize("operator", ["add", "project", "piecewise"])
def test_operators_sites_and_first_tokens(type_in: Type, files: str, operator: str):
    asked = ("--site", "blocks.*.resid_post", "--operator", operator, "--first", "2", "--model", files)
    found = shown(type_in, "--direction", "power.safetensors", *asked)
    where = "resid_post, positions first 2 generated"
    assert found["edits"] == [f"{operator} at blocks.{block}.{where}" for block in range(2)]
    assert (found["receipt"]["sites"], found["receipt"]["tokens"]) == (2, 4)


def test_a_strength_is_found_for_a_budget_and_the_page_shows_it(type_in: Type, files: str):
    budget = ("--budget-kl", "0.05", "--neutral", "neutral.txt", "--block", "0", "--model", files)
    typed = type_in(
        "steer", PROMPT, "The", "--direction", "power.safetensors", *budget, "--control", *FEW, "--html", "steer.html"
    )
    assert typed.code == 0, typed.err
    assert "nats per token (2 texts, 19 tokens)" in typed.out and "control: ‖Δ‖/‖h‖ = " in typed.out
    assert typed.err == "wrote steer.html\n"
    page = Path("steer.html").read_text(encoding="utf-8")
    assert "Side effect on neutral text" in page and "equal length" in page
    assert "Steered by power.safetensors." in page
    found = shown(type_in, "--direction", "power.safetensors", *budget)
    assert 0 < found["search"]["value"] <= 0.05
    assert f"strength {found['search']['strength']:g}" in found["edits"][0]
    ratio = ("--budget-perplexity", "1.01", *budget[2:])
    assert shown(type_in, "--direction", "power.safetensors", *ratio)["search"]["measure"] == "perplexity_ratio"


def test_a_contrast_pair_is_added_to_the_first_tokens(type_in: Type, tiny: str):
    found = shown(
        type_in,
        "--contrast",
        " Paris France",
        " Berlin",
        "--block",
        "1",
        "--strength",
        "4",
        "--control",
        "--model",
        tiny,
    )
    assert found["edits"] == ["add at blocks.1.resid_pre, positions (0, 1), strength 4"]
    assert set(found["rows"][0]) == {"prompt", "plain", "steered", "control"}
    assert found["receipt"]["entries"][0]["change"] == pytest.approx(found["control_receipt"]["entries"][0]["change"])


FILE = ("--direction", "power.safetensors")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give what steers: --direction FILE, or --contrast MORE LESS; not both"),
        ([*FILE, "--contrast", "a", "b"], "not both"),
        ([*FILE, "--strength", "2", "--budget-kl", "0.1"], "--strength 2.0 and --budget-kl 0.1 each say how strongly"),
        ([*FILE, "--neutral", "neutral.txt"], "--neutral neutral.txt says nothing without --budget-kl"),
        ([*FILE, "--first", "2", "--positions", "prompt"], "--first 2 counts generated tokens"),
        ([*FILE, "--first", "0"], "'--first'"),
        ([*FILE, "--operator", "subtract"], "'--operator'"),
        ([*FILE, "--html", "page.txt"], "ends in .html or .htm"),
        (["--contrast", "a", "b"], "give --block 6, or --site"),
        (["--contrast", "a", "b", "--block", "1", "--operator", "project"], "leave --operator, --positions"),
        (["--contrast", "a", "b", "--block", "1", "--decay", "0.5"], "leave --operator, --positions"),
        (["--contrast", "a", "b", "--block", "1", "--site", "embed"], "--site embed and --block 1 both say where"),
        (["--direction", "nowhere.safetensors"], "nowhere.safetensors"),
        ([*FILE, "--budget-kl", "1", "--neutral", "nowhere.txt"], "nowhere.txt cannot be read as texts"),
        ([*FILE, "--budget-kl", "1", "--neutral", "blank.txt"], "blank.txt holds no text"),
    ],
)
def test_what_is_refused_before_a_model_is_loaded(type_in: Type, files: str, arguments: list[str], said: str):
    Path("blank.txt").write_text("\n \n")
    assert said in refused(type_in, "steer", PROMPT, *arguments, "--model", "no-such-model")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (FILE, "name a site"),
        ([*FILE, "--block", "7"], "block 7"),
        ([*FILE, "--block", "1", "--site", "blocks.1.resid_post"], "Give one of them"),
        ([*FILE, "--site", "blocks.0.mlp_out"], "no direction at 'blocks.0.mlp_out'"),
        ([*FILE, "--block", "1", "--decay", "2"], "decay 2 is not above 0 and below 1"),
        ([*FILE, "--block", "1", "--decay", "0.5", "--positions", "prompt"], "writes no token there"),
        ([*FILE, "--block", "1", "--budget-kl", "-1"], "max_kl=-1.0: nats above 0"),
        ([*FILE, "--block", "1", "--budget-perplexity", "1"], "max_perplexity_ratio=1.0: above 1"),
        ([*FILE, "--block", "1", "--strength", "nan"], "strength nan is not a finite number"),
        (["--contrast", "a", "a", "--block", "1"], "no difference to add"),
        (["--contrast", "a", "b", "--block", "9"], "it has blocks 0 to 1"),
    ],
)
def test_what_a_model_refuses_to_be_steered_by(type_in: Type, files: str, arguments: list[str], said: str):
    neutral = ("--neutral", "neutral.txt") if "--budget" in str(arguments) else ()
    assert said in refused(type_in, "steer", PROMPT, *arguments, *neutral, "--model", files)


def test_a_control_vector_steers_as_the_directions_that_it_holds(type_in: Type, files: str):
    Directions.load("power.safetensors").to_gguf("power.gguf", without_block_0=True)
    found = [shown(type_in, "--direction", f"-power.{end}:2", "--block", "1", "--model", files) for end in KINDS]
    assert found[0]["rows"] == found[1]["rows"] and found[0]["edits"] == found[1]["edits"]
    assert found[0]["rows"][0]["steered"] != found[0]["rows"][0]["plain"]


def test_a_budget_that_nothing_exceeds_is_no_strength(type_in: Type, files: str):
    model = rh.load(files)
    even = torch.ones(model.body.d_vocab)  # moves no probability
    one = Direction("even", "logits", even, "planted", model.name)
    Directions({one.site: one}).save("even.safetensors")
    budget = ("--budget-kl", "0.1", "--neutral", "neutral.txt", "--dtype", "float64")
    typed = refused(type_in, "steer", PROMPT, "--direction", "even.safetensors", *budget, "--model", files)
    assert "--budget-kl 0.1: no strength up to 2.68e+08 exceeds it" in typed


def test_a_direction_of_other_weights_is_refused(type_in: Type, files: str):
    one = Direction("power", "blocks.0.resid_post", torch.ones(16), "planted", "another", "0" * 64)
    Directions({one.site: one}).save("other.safetensors")
    assert "DirectionNotUsable" in refused(
        type_in, "steer", PROMPT, "--direction", "other.safetensors", "--model", files
    )
