"""Whatever is typed wrong: one clear line on stderr, exit code 2, and no file written."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import rheostat as rh
from rheostat.report.folder import write_record
from rheostat.studies.record import Record
from tests.cli.conftest import Type

PROMPT = "The capital of Germany is"
RECORD = Record(
    study="demo",
    title="",
    source="",
    arguments={},
    seed=0,
    models=(),
    versions={},
    started="",
    seconds=0.0,
)
SCALE = '{"format": "rheostat-plan-1", "edits": [{"edit": "scale", "site": "blocks.0.mlp_out", "factor": 2.0%s}]}'


def entry(edit: object, **settings: object) -> str:
    """Return a plan of one edit, as JSON."""
    one = {"edit": edit, "site": "blocks.0.mlp_out", **settings}
    return json.dumps({"format": "rheostat-plan-1", "edits": [one]})


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
        (["lens", "a", "--at", "3"], "--at 3 says nothing without --replace or --mix."),
        (["lens", "a", "--mix-kind", "foo"], "--mix-kind foo says nothing without --mix."),
        (["generate", "a", "--factor", "2"], "--factor 2.0 says nothing without --mix."),
        (["generate", "a", "--factor", "0.7", "--replace", "blocks.0.mlp_out=b"], "--factor 0.7 says nothing"),
        (["generate", "a", "--temperature", "1", "--seed", "9" * 44], "'--seed'"),
        (["generate", "a", "--temperature", "1", "--seed", str(2**63)], "'--seed'"),
        (["run", "decoding", "--seed", "-1"], "'--seed'"),
        (["check", "--attention", "flash"], "'--attention'"),
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
        (["generate", PROMPT, "--replace", "blocks.0.attn_out=The", "--at", ""], "names no token"),
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
        ("plan.json", entry("scale"), "scale lacks the setting 'factor': a number."),
        ("plan.json", entry("scale", factor="2"), "scale: the setting 'factor' takes a number, not '2'."),
        ("plan.json", entry("scale", factor=10**400), "the setting 'factor' takes a number, not 1000"),
        ("plan.json", entry("zero", site=3), "zero: the setting 'site' takes a text, not 3."),
        ("plan.json", entry("zero", units=5), "zero: the setting 'units' takes a list of whole numbers, not 5."),
        ("plan.json", entry("zero", units=[0.5]), "takes a list of whole numbers, not [0.5]."),
        ("plan.json", entry("zero", strength=True), "zero: the setting 'strength' takes a number, not True."),
        ("plan.json", entry("mix", prompt=5), "mix: the setting 'prompt' takes a text, not 5."),
        ("plan.json", entry("mix"), "mix lacks the setting 'prompt': a text."),
        ("plan.json", entry("add", vector=[1, 2]), "takes a tensor, captured activations or a prompt, not [1, 2]."),
        ("plan.json", entry("add", vector=3), "takes a tensor, captured activations or a prompt, not 3."),
        ("plan.json", entry("add", vector={}), "takes a tensor, captured activations or a prompt, not {}."),
        ("plan.json", entry("add", vector={"tensor": [1]}), "the plan is incomplete: no tensor [1]. It holds: none."),
        ("plan.json", entry("add", vector={"activations": 3}), "activations of the setting 'vector' are described"),
        ("plan.json", entry("replace", value={"prompt": 5}), "source: the setting 'prompt' takes a text, not 5."),
        ("plan.json", entry("replace", value={"prompt": "a", "knid": "x"}), "Closest: kind"),
        ("plan.json", entry("zero", decay="slow"), "zero: the setting 'decay' takes a number, not 'slow'."),
        ("plan.json", entry("zero", decay=2), "decay 2 is not above 0 and below 1"),
        ("plan.json", entry("zero", positions={"generated": 0}), "names no positions"),
        ("plan.json", entry("add", vector={"prompt": "a"}, keep_norm=1), "'keep_norm' takes true or false, not 1."),
        ("plan.json", entry(["scale"]), "no edit ['scale']."),
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


NOTHING_LOADED = ("--model", "no-such-model")
"""Whatever is refused before this model is looked for was refused before anything was computed."""


@pytest.mark.parametrize("name", ["out.html", "out.csv", "out.png"])
def test_an_output_that_exists_is_kept_unless_asked(type_in: Type, name: str):
    Path(name).write_text("mine")
    line = refused(type_in, "lens", "The", f"--{name[4:]}", name, *NOTHING_LOADED)
    assert line == (
        f"WouldOverwrite: {name} exists. Give another name, or allow overwriting (--overwrite, overwrite=True)."
    )
    assert Path(name).read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--html", "file/lens.html"], "FileNotUsable: file/lens.html cannot be written (Not a directory)."),
        (["--html", "folder.html", "--overwrite"], "FileNotUsable: folder.html is a folder"),
        (["--html", "n" * 300 + ".html"], "File name too long"),
        (["--csv", "/proc/lens.csv"], "FileNotUsable: /proc/lens.csv cannot be written"),
        (["--csv", "device.csv", "--overwrite"], "FileNotUsable: device.csv is no regular file"),
        (["--png", "pic.jpg"], "BadArgument: --png pic.jpg: give a name that ends in .png."),
        (["--png", "."], "ends in .png."),
        (["--csv", "x.csv", "--png", "x.csv"], "--png x.csv: give a name that ends in .png."),
        (["--html", "page"], "--html page: give a name that ends in .html or .htm."),
        (["--png", "lens.png", "--track", " Berlin"], "WouldOverwrite: lens-tracked.png exists."),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_model_is_loaded(
    type_in: Type, options: list[str], said: str
):
    Path("file").write_text("")
    Path("lens-tracked.png").write_text("")
    Path("folder.html").mkdir()
    Path("device.csv").symlink_to("/dev/null")
    assert said in refused(type_in, "lens", "The", *options, *NOTHING_LOADED)


def test_a_refused_command_leaves_no_folder_behind(type_in: Type):
    assert "ModelNotFound" in refused(type_in, "lens", "The", "--csv", "newdir/deep/x.csv", *NOTHING_LOADED)


@pytest.mark.parametrize("command", [["demo"], ["run", "decoding"]])
def test_a_folder_that_cannot_be_used_is_refused_before_the_model_is_loaded(type_in: Type, command: list[str]):
    Path("file").write_text("")
    for out in ("file", "file/inside", "/proc/out", "n" * 300):
        line = refused(type_in, *command, "--out", out, *NOTHING_LOADED)
        assert line.startswith("FileNotUsable") and out in line
    Path("odd").mkdir()
    Path("odd/figures").write_text("")
    assert "odd/figures" in refused(type_in, *command, "--out", "odd", *NOTHING_LOADED)


@pytest.mark.parametrize("command", [["demo"], ["run", "decoding"]])
@pytest.mark.parametrize("name", ["index.html", "record.json", "figures/lens.png"])
def test_a_folder_of_something_else_is_kept_unless_asked(type_in: Type, command: list[str], name: str):
    path = Path("dd") / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    said = refused(type_in, *command, "--out", "dd", *NOTHING_LOADED)
    assert said.startswith("WouldOverwrite: dd/") and "--overwrite" in said
    assert "ModelNotFound" in refused(type_in, *command, "--out", "dd", "--overwrite", *NOTHING_LOADED)
    assert path.read_text() == "mine"


def test_a_demo_replaces_an_earlier_demo_and_no_other_record(type_in: Type):
    write_record(RECORD, Path("dd"))
    assert "ModelNotFound" in refused(type_in, "demo", "--out", "dd", *NOTHING_LOADED)
    assert "WouldOverwrite" in refused(type_in, "run", "decoding", "--out", "dd", *NOTHING_LOADED)
    write_record(replace(RECORD, study="decoding"), Path("dd"), overwrite=True)
    assert "WouldOverwrite" in refused(type_in, "demo", "--out", "dd", *NOTHING_LOADED)
    assert "WouldOverwrite" in refused(type_in, "run", "decoding", "--out", "dd", *NOTHING_LOADED)


def test_an_interrupted_run_may_go_on(type_in: Type):
    Path("dd/steps").mkdir(parents=True)
    Path("dd/index.html").write_text("half of a record: record.json comes last")
    assert "ModelNotFound" in refused(type_in, "run", "decoding", "--out", "dd", *NOTHING_LOADED)


def test_claims_are_not_written_over_a_file(type_in: Type):
    Path("claims.md").write_text("mine")
    assert "WouldOverwrite: claims.md" in refused(type_in, "claims", "nowhere", "--out", "claims.md")
    assert "ends in .md" in refused(type_in, "claims", "nowhere", "--out", "claims.html")


def test_a_hub_name_that_leads_nowhere_is_one_line(type_in: Type, monkeypatch: pytest.MonkeyPatch):
    import transformers

    def refuse(*_: object, **__: object) -> None:
        raise OSError("the hub does not know it")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", refuse)
    assert refused(type_in, "sites", "org/nosuchmodel").startswith("ModelNotFound: no model 'org/nosuchmodel'")


@pytest.mark.parametrize("content", [b"", b"hello\n", None], ids=["empty", "another kind", "truncated"])
def test_a_damaged_gguf_file_is_refused(type_in: Type, tiny: str, content: bytes | None):
    Path("bad.gguf").write_bytes(Path(tiny).read_bytes()[:30_000] if content is None else content)
    assert "DamagedFile: bad.gguf" in refused(type_in, "sites", "bad.gguf")


def test_a_file_in_the_place_of_the_cache_is_named(type_in: Type, tiny: str, monkeypatch: pytest.MonkeyPatch):
    Path("file").write_text("")
    monkeypatch.setenv("RHEOSTAT_CACHE", str(Path("file").resolve()))
    assert "CacheNotWritable" in refused(type_in, "sites", tiny)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("impair", "{tiny}", "--task", "capitls"), "TaskNotUsable: no task 'capitls'. Closest: capitals"),
        (("compare", "{tiny}", "{tiny}", "--task", "nothing"), "TaskNotUsable: no task 'nothing'."),
        (("impair", "{tiny}", "--intensities", "0.2,0.1"), "BadArgument: --intensities 0.2,0.1: ascending"),
        (("impair", "{tiny}", "--intensities=-1,1"), "ascending, above 0"),
        (("compare", "{tiny}", "{tiny}", "--intensities", "a"), "numbers with commas between them"),
        (("compare", "{tiny}", "{tiny}", "--absolute", "1,1"), "--absolute 1,1: ascending"),
        (("impair", "{tiny}", "--mode", "magnitude", "--intensities", "1,2"), "takes an intensity of 0 to 1"),
        (("impair", "{tiny}", "--mode", "magnitude", "--absolute"), "--absolute says nothing with --mode magnitude"),
        (("impair", "{tiny}", "--bound", "2", "--task", "own.jsonl"), "from 0 to 1"),
        (("impair", "{tiny}", "--kind", "mlp_ot", "--task", "own.jsonl"), "SiteNotFound"),
        (("impair", "{tiny}", "--cluster", "other.json", "--task", "own.jsonl"), "ClusterNotUsable: the cluster"),
        (("impair", "{tiny}", "--cluster", "gone.json", "--task", "own.jsonl"), "FileNotUsable: gone.json"),
        (("impair", "{tiny}", "--task", "gone.jsonl"), "FileNotUsable: gone.jsonl cannot be read as a task"),
        (
            ("impair", "{tiny}", "--task", "wrong.jsonl"),
            "TaskNotUsable: the task 'wrong' cannot be used: of its 1 items",
        ),
        (("compare", "{tiny}", "{tiny}", "--task", "wrong.jsonl"), "both 0. Give a task that they can do."),
    ],
)
def test_impair_and_compare_refuse_what_cannot_be_done(type_in: Type, tiny: str, arguments: tuple[str, ...], said: str):
    prompt = "The capital of France is"
    answer = rh.load(tiny).generate(prompt, max_new_tokens=1).text
    for name, text in (("own", answer), ("wrong", " Paris" if answer != " Paris" else " Berlin")):
        Path(f"{name}.jsonl").write_text(json.dumps({"prompt": prompt, "answer": text}), encoding="utf-8")
    cluster = {"format": "rheostat-cluster-1", "kind": "mlp_out", "units": {"0": [1]}}
    texts = {"method": "random", "topic": "t", "model": "other", "weights": "0" * 64}
    Path("other.json").write_text(json.dumps({**cluster, **texts}), encoding="utf-8")
    assert said in refused(type_in, *(one.format(tiny=tiny) for one in arguments))
