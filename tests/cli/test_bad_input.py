"""Whatever is typed wrong: one clear line on stderr, exit code 2, and no file written."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import rheostat as rh
from tests.cli.conftest import Type

PROMPT = "The capital of Germany is"
SCALE = '{"format": "rheostat-plan-1", "edits": [{"edit": "scale", "site": "blocks.0.mlp_out", "factor": 2.0%s}]}'


def refused(type_in: Type, *arguments: str) -> str:
    """Run a command that must be refused, and return its one line."""
    before = sorted(Path().rglob("*"))
    typed = type_in(*arguments)
    assert (typed.code, typed.out, len(typed.err.splitlines())) == (2, "", 1), typed.err
    (line,) = typed.err.splitlines()
    assert "Traceback" not in line
    assert sorted(Path().rglob("*")) == before
    return line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lesn"], "Did you mean 'lens'?"),
        (["lens"], "Missing argument 'prompt'. See: rheostat lens --help"),
        (["lens", "a", "--kk", "3"], "No such option: --kk"),
        (["lens", "a", "--k", "0"], "'--k'"),
        (["lens", "a", "--factor", "much"], "'--factor'"),
        (["generate", "a", "--max-new-tokens", "0"], "'--max-new-tokens'"),
        (["run", "decodin"], "StudyNotFound: no study 'decodin'. Closest: decoding."),
        (["claims", "nowhere"], "nowhere/record.json cannot be read"),
        (["sites", "smolm2-135m-instruct"], "ModelNotFound: no model 'smolm2-135m-instruct'. Closest: smollm2"),
        (["sites", "nothing-like-it"], "Built in: smollm2-135m-instruct, gemma3-270m."),
        (["sites", "missing.gguf"], "FileNotUsable: there is no file missing.gguf."),
        (["sites", "/nowhere/model"], "FileNotUsable: there is no folder /nowhere/model."),
    ],
)
def test_what_needs_no_model_to_be_refused(type_in: Type, arguments: list[str], said: str):
    assert said in refused(type_in, *arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lens", ""], "EmptyPrompt: the prompt '' holds no token. Give at least one word."),
        (["lens", "The" * 60], "PromptTooLong: the prompt has 60 tokens; tiny takes 48."),
        (["lens", "\udcff"], "no UTF-8"),
        (["lens", PROMPT, "--track", "Berlinx yz"], "NotOneToken: 'Berlinx yz' is not one token but"),
        (["lens", PROMPT, "--track", "Paris"], "Did you mean ' Paris', with its leading space?"),
        (["lens", PROMPT, "--track", ""], "NotOneToken: '' is not one token but 0: nothing."),
        (["lens", PROMPT, "--position", "7"], "position 7 does not exist in a row of 5 tokens (0 to 4, or -5 to -1)."),
        (["lens", PROMPT, "--position", "Italy"], "the prompt does not contain 'Italy'"),
        (["lens", PROMPT, "--position", "a"], "AmbiguousPosition: 'a' occurs"),
        (["lens", PROMPT, "--position", "3:3"], "the slice [3:3] is empty"),
        (["lens", PROMPT, "--position", "generated"], "has none"),
        (["lens", PROMPT, "--k", "1000"], "the size of the vocabulary"),
        (["lens", PROMPT, "--dtype", "float31"], "One of: float64, float32, bfloat16, float16."),
        (["lens", PROMPT, "--device", "nonsense"], "the device 'nonsense' cannot be used here. Available: cpu"),
        (["lens", PROMPT, "--device", "cuda:99"], "Available: cpu"),
        (["generate", PROMPT, "--max-new-tokens", "60"], "5 tokens and 60 to generate; tiny takes 48."),
        (["generate", PROMPT, "--temperature", "0"], "temperature=0.0: a positive number"),
        (["generate", PROMPT, "--top-k", "5"], "give a temperature too"),
        (["generate", PROMPT, "--replace", "blocks.0.attn_out"], "write SITE=PROMPT"),
        (["generate", PROMPT, "--replace", "=The"], "write SITE=PROMPT"),
        (
            ["generate", PROMPT, "--replace", "blocks.0.atn_out=The"],
            "SiteNotFound: no site 'blocks.0.atn_out' in tiny.",
        ),
        (["generate", PROMPT, "--replace", "blocks.2.attn_out=The"], "it has blocks 0 to 1."),
        (["generate", PROMPT, "--mix", "blocks.0.mlp_out=The", "--mix-kind", "resid_mdi"], "resid_mid"),
        (["generate", PROMPT, "--edit", "nowhere.json"], "FileNotUsable: there is no file nowhere.json."),
    ],
)
def test_what_a_model_refuses(type_in: Type, tiny: str, arguments: list[str], said: str):
    assert said in refused(type_in, *arguments, "--model", tiny)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("plan.json", "{", "plan.json: this is no plan in JSON"),
        ("plan.json", "[]", "plan.json: this is no plan in JSON"),
        ("plan.json", '{"format": "another", "edits": []}', "plan.json: this is no plan of the format"),
        ("plan.json", SCALE.replace("scale", "scael") % "", "Closest: scale."),
        ("plan.json", SCALE % ', "strenght": 1', "Closest: strength"),
        ("plan.json", SCALE % ', "strength": NaN', "strength nan is not a finite number"),
        ("plan.json", SCALE.replace("2.0", "NaN") % "", "factor nan is not a finite number"),
        ("plan.json", SCALE % ', "positions": 3', "names no positions"),
        ("plan.safetensors", "not safetensors at all", "cannot be read as a plan"),
        ("plan.txt", SCALE % "", "a plan is a .json or .safetensors file"),
    ],
)
def test_a_plan_that_cannot_be_used_is_named(type_in: Type, tiny: str, name: str, content: str, said: str):
    Path(name).write_text(content)
    line = refused(type_in, "generate", PROMPT, "--edit", name, "--model", tiny)
    assert said in line and name in line


def test_a_truncated_plan_and_a_file_of_weights_are_refused(type_in: Type, tiny: str):
    rh.Plan((rh.Add("blocks.0.mlp_out", torch.ones(16)),)).save("good.safetensors")
    Path("short.safetensors").write_bytes(Path("good.safetensors").read_bytes()[:-8])
    save_file({"weight": torch.ones(2)}, "weights.safetensors")
    for name in ("short", "weights"):
        assert name in refused(type_in, "generate", "The", "--edit", f"{name}.safetensors", "--model", tiny)
    assert type_in("generate", "The", "--edit", "good.safetensors", "--model", tiny).code == 0


@pytest.mark.parametrize("option", ["--html", "--csv", "--png"])
def test_an_output_that_exists_is_kept_unless_asked(type_in: Type, tiny: str, option: str):
    Path("out").write_text("mine")
    line = refused(type_in, "lens", "The", option, "out", "--model", tiny)
    assert line == "WouldOverwrite: out exists. Give another name, or --overwrite."
    assert Path("out").read_text() == "mine"


def test_an_output_that_cannot_be_written_is_refused_before_the_model_is_loaded(type_in: Type):
    Path("file").write_text("")
    line = refused(type_in, "lens", "The", "--html", "file/lens.html", "--model", "no-such-model")
    assert line.startswith("FileNotUsable: file")
    Path("folder").mkdir()
    line = refused(type_in, "lens", "The", "--html", "folder", "--overwrite", "--model", "no-such-model")
    assert line.startswith("FileNotUsable: folder is a folder")


@pytest.mark.parametrize("content", [b"", b"hello\n", None], ids=["empty", "another kind", "truncated"])
def test_a_damaged_gguf_file_is_refused(type_in: Type, tiny: str, content: bytes | None):
    Path("bad.gguf").write_bytes(Path(tiny).read_bytes()[:30_000] if content is None else content)
    assert "DamagedFile: bad.gguf" in refused(type_in, "sites", "bad.gguf")


def test_a_file_in_the_place_of_the_cache_is_named(type_in: Type, tiny: str, monkeypatch: pytest.MonkeyPatch):
    Path("file").write_text("")
    monkeypatch.setenv("RHEOSTAT_CACHE", str(Path("file").resolve()))
    assert "CacheNotWritable" in refused(type_in, "sites", tiny)
