"""What commands print and leave: data on stdout, remarks on stderr, rows as promised, quiet ends."""

import importlib.metadata
import json
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest

import rheostat as rh
from rheostat.base.errors import InternalError
from rheostat.cli.app import app
from rheostat.tasks.named import read_task
from tests.cli.conftest import Type

PROMPT = "The capital of Germany is"
COMMANDS = [command.name for command in app.registered_commands]
BELOW = [
    f"{group.name} {one.name}" for group in app.registered_groups for one in group.typer_instance.registered_commands
]
HEAVY = ("torch", "transformers", "matplotlib", "pandas", "numpy", "scipy", "safetensors", "jinja2")

SHOW_HELP = """
import sys
from rheostat.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print([name for name in %r if name in sys.modules], file=sys.stderr)
"""


def test_the_version_is_said_without_loading_anything_heavy():
    command_line = [sys.executable, "-c", SHOW_HELP % (HEAVY,), "--version"]
    done = subprocess.run(command_line, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert done.stdout == f"rheostat {importlib.metadata.version('rheostat')}\n"


@pytest.mark.parametrize("command", [None, *COMMANDS, "runs", *BELOW])
def test_help_loads_nothing_heavy_and_ends_in_an_example(command: str | None):
    asked = [*(command.split() if command else []), "--help"]
    command_line = [sys.executable, "-c", SHOW_HELP % (HEAVY,), *asked]
    done = subprocess.run(command_line, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    example = " ".join(done.stdout.split("\n\n")[-1].split())
    assert example.startswith(f"Example: rheostat {command or ''}".strip())


def test_a_bare_command_shows_the_help_with_every_command(type_in: Type):
    typed = type_in()
    assert typed.code == 0 and typed.err == ""
    assert all(f"\n  {command}" in typed.out for command in [*COMMANDS, "runs"])
    assert typed.out.count("...") == 1  # in the usage; each summary fits


def test_the_help_of_generate_says_how_a_plan_is_saved(type_in: Type):
    assert 'save("half.json")' in type_in("generate", "--help").out


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_lens_json_holds_the_promised_rows(type_in: Type, tiny: str):
    typed = type_in("lens", PROMPT, "--k", "3", "--position", "all", "--json", "--model", tiny)
    rows = json.loads(typed.out)
    assert (typed.code, typed.err) == (0, "")
    assert len(rows) == 2 * 4 * 5 * 3
    assert all(list(row) == ["block", "point", "position", "token", "probability", "rank"] for row in rows)
    assert {row["point"] for row in rows} == {"attn_out", "resid_mid", "mlp_out", "resid_post"}
    assert {row["rank"] for row in rows} == {1, 2, 3}


def test_generate_json_holds_texts_and_the_receipt(type_in: Type, tiny: str):
    replace = ("--replace", "blocks.1.attn_out=The capital of France is")
    typed = type_in("generate", PROMPT, *replace, "--max-new-tokens", "3", "--json", "--model", tiny)
    data = json.loads(typed.out)
    assert (typed.code, typed.err) == (0, "")
    assert [row["prompt"] for row in data["rows"]] == [PROMPT] and len(data["rows"][0]["ids"]) <= 3
    assert (data["receipt"]["sites"], data["receipt"]["rows"], data["receipt"]["tokens"]) == (1, 1, 1)


def test_patch_json_has_a_row_per_block_and_token(type_in: Type, tiny: str):
    other = "The capital of France is"
    asked = ("--answer", " Berlin", "--versus", " Paris", "--site", "attn_out", "--json", "--model", tiny)
    typed = type_in("patch", PROMPT, other, *asked, "--png", "patch.png", "--html", "patch.html")
    rows = json.loads(typed.out)
    assert typed.code == 0, typed.err
    assert [list(row) for row in rows] == [["block", "position", "token", "logit_difference", "score"]] * (2 * 5)
    assert Path("patch.png").read_bytes().startswith(b"\x89PNG")
    page = Path("patch.html").read_text(encoding="utf-8")
    assert "attn_out of the clean prompt" in page and "direction: denoise" in page and "attention: sdpa" in page
    typed = type_in("patch", PROMPT, "The capital is", *asked)
    assert (typed.code, typed.out) == (2, "")
    assert "equally many tokens" in typed.err and typed.err.count("\n") == 1


def test_trace_json_has_the_totals_and_a_row_per_block_and_token(type_in: Type, tiny: str):
    asked = ("--subject", "Germany", "--draws", "2", "--site", "mlp_out", "--window", "1", "--json", "--model", tiny)
    typed = type_in("trace", PROMPT, *asked, "--png", "trace.png", "--html", "trace.html")
    assert typed.code == 0, typed.err
    found = json.loads(typed.out)
    assert found["total_effect"] == pytest.approx(found["clean"] - found["corrupted"])
    columns = ["block", "position", "token", "subject", "probability", "indirect_effect"]
    assert [list(row) for row in found["table"]] == [columns] * (2 * 5)
    assert Path("trace.png").read_bytes().startswith(b"\x89PNG")
    page = Path("trace.html").read_text(encoding="utf-8")
    assert "Putting back mlp_out of one token" in page and "subject: " in page and "seed: 0" in page
    typed = type_in("trace", PROMPT, "--subject", "France", "--model", tiny)
    assert (typed.code, typed.out) == (2, "")
    assert "France" in typed.err and typed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        (("--site", "heads"), 2 * 5 * 2),
        (("--site", "heads", "--whole"), 2 * 5),
        (("--site", "neurons", "--position", "last", "--top", "7"), 7),
        (("--site", "resid_pre", "--estimate", "--steps", "2"), 2 * 5),
        (("--site", "heads", "--estimate", "--top", "3"), 3),
    ],
)
def test_patch_takes_single_units_and_estimates(type_in: Type, tiny: str, given: tuple[str, ...], rows: int):
    pair = (PROMPT, "The capital of France is", "--answer", " Berlin", "--versus", " Paris", "--model", tiny, *given)
    typed = type_in("patch", *pair, "--json", "--png", "patch.png")
    assert typed.code == 0, typed.err
    assert len(json.loads(typed.out)) == rows
    assert ("unit" in json.loads(typed.out)[0]) == ("--whole" not in given and "resid_pre" not in given)
    assert "strongest" in type_in("patch", *pair).out or "unit" not in json.loads(typed.out)[0]


@pytest.mark.parametrize(
    ("given", "says"), [(("--steps", "3"), "without --estimate"), (("--site", "pattern"), "heads or attn_out")]
)
def test_patch_refuses_what_it_cannot_do(type_in: Type, tiny: str, given: tuple[str, ...], says: str):
    pair = (PROMPT, "The capital of France is", "--answer", " Berlin", "--versus", " Paris", "--model", tiny, *given)
    typed = type_in("patch", *pair)
    assert (typed.code, typed.out) == (2, "")
    assert says in typed.err and typed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "columns"),
    [
        (["models"], {"name", "licence", "cached"}),
        (["studies"], {"name", "title", "source"}),
        (["sites", "TINY"], {"site", "shape"}),
        (["sites", "TINY", "--all"], {"site", "shape"}),
    ],
)
def test_lists_as_json_have_named_columns(type_in: Type, tiny: str, command: list[str], columns: set[str]):
    typed = type_in(*[tiny if part == "TINY" else part for part in command], "--json")
    assert (typed.code, typed.err) == (0, "")
    assert all(columns <= set(row) for row in json.loads(typed.out))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_check_says_whether_the_parts_add_up(type_in: Type, tiny: str, dtype: str):
    typed = type_in("check", tiny, "--dtype", dtype, "--json")
    found = json.loads(typed.out)
    assert (typed.code, found["holds"]) == (0, True)
    assert max(row["relative_error"] for row in found["rows"]) <= found["tolerance"]


def test_the_text_goes_to_stdout_and_the_receipt_to_stderr(type_in: Type, tiny: str):
    mix = ("--mix", "blocks.0.mlp_out=The", "--factor", "0.5")
    typed = type_in("generate", PROMPT, *mix, "--max-new-tokens", "2", "--model", tiny)
    assert typed.out.startswith(PROMPT)
    assert typed.err.startswith("1 site, 1 row, ")


def test_files_are_written_and_said(type_in: Type, tiny: str):
    typed = type_in("lens", PROMPT, "--track", " Berlin", "--csv", "a/b.csv", "--html", "c.html", "--model", tiny)
    assert typed.code == 0
    assert typed.err == "wrote a/b.csv\nwrote c.html\n"
    assert Path("a/b.csv").read_text().startswith("block,point,position,token,probability,rank")
    assert "Germany" in Path("c.html").read_text(encoding="utf-8")
    assert sorted(str(path) for path in Path().rglob("*")) == ["a", "a/b.csv", "c.html"]


def test_tracked_tokens_get_rows_and_pictures_of_their_own(type_in: Type, tiny: str):
    track = ("--track", " Berlin", "--track", " Paris", "--track", " Paris")
    typed = type_in("lens", PROMPT, *track, "--k", "1", "--json", "--csv", "a.csv", "--png", "a.png", "--model", tiny)
    rows = json.loads(typed.out)
    assert typed.code == 0 and typed.err.count("wrote") == 4
    for token in (" Berlin", " Paris"):
        assert len([row for row in rows if row["token"] == token]) == 2 * 4
    places = [(row["block"], row["point"], row["position"], row["token"]) for row in rows]
    assert len(places) == len(set(places)) == len(pd.read_csv("a.csv"))
    pictures = [Path(name).read_bytes() for name in ("a.png", "a-tracked.png", "a-tracked-2.png")]
    assert len(set(pictures)) == 3 and all(picture.startswith(b"\x89PNG") for picture in pictures)


@pytest.mark.parametrize("option", ["--csv", "--png", "--html"])
def test_a_file_that_cannot_be_finished_leaves_the_old_one(
    type_in: Type, tiny: str, option: str, monkeypatch: pytest.MonkeyPatch
):
    path = Path(f"out.{option[2:]}")
    path.write_text("old")

    def break_off(self: Path, content: bytes) -> None:
        with self.open("wb") as stream:
            stream.write(content[:3])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", break_off)
    assert type_in("lens", PROMPT, option, str(path), "--overwrite", "--model", tiny).code == 130
    assert path.read_text() == "old" and list(Path().iterdir()) == [path]


@pytest.mark.slow  # the demo, twice
def test_a_demo_can_be_shown_again_in_its_folder(type_in: Type, tiny: str):
    prompts = ("--prompt", PROMPT, "--other", "France", "--model", tiny, "--out", "dd")
    for _ in range(2):
        typed = type_in("demo", *prompts, "--json")
        assert typed.code == 0, typed.err
    assert type_in("demo", *prompts, "--out", "dd/figures").code == 0  # a folder that holds nothing of these names


def test_eager_attention_gives_the_same_text_and_is_used(type_in: Type, tiny: str, monkeypatch: pytest.MonkeyPatch):
    from transformers import AutoModelForCausalLM

    asked, load = [], AutoModelForCausalLM.from_pretrained

    def watch(*args: object, **options: object) -> object:
        asked.append(options["attn_implementation"])
        return load(*args, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", watch)
    said = {type_in("generate", PROMPT, *how, "--model", tiny).out for how in ([], ["--attention", "eager"])}
    assert len(said) == 1 and asked == [None, "eager"]
    assert type_in("check", tiny, "--attention", "eager").code == 0
    assert type_in("lens", PROMPT, "--attention", "sdpa", "--model", tiny).code == 0
    assert asked[2:] == ["eager", "sdpa"]


# --- terminals and pipes ----------------------------------------------------------------------------------------------


def test_a_terminal_that_knows_only_ascii_gets_escapes(type_in: Type, tiny: str):
    table = type_in("lens", PROMPT, "--track", " Berlin", "--model", tiny, encoding="ascii")
    assert table.code == 0 and "\\u2423is" in table.out
    typed = type_in("lens", "\xe9 \U0001f600", "--k", "294", "--json", "--model", tiny, encoding="ascii")
    assert typed.code == 0 and len(json.loads(typed.out)) == 2 * 4 * 294


def test_tables_fit_80_columns(type_in: Type, tiny: str, monkeypatch: pytest.MonkeyPatch):
    from rich.console import Console

    monkeypatch.setattr("rheostat.cli.options.console", lambda: Console(width=80))
    for command in (["lens", PROMPT, "--model", tiny], ["sites", tiny], ["check", tiny], ["models"], ["studies"]):
        typed = type_in(*command)
        assert typed.code == 0 and max(len(line) for line in typed.out.splitlines()) <= 80
    assert "resid_post" in type_in("lens", PROMPT, "--model", tiny).out


def test_a_reader_that_leaves_early_ends_the_command_quietly():
    command = [sys.executable, "-m", "rheostat.cli.main", "studies", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


INTERRUPTED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have set it aside for its background jobs
import time
from rheostat.cli import main, studies
import rheostat.cli.options as options
def wait(value):
    print("ready", flush=True)
    time.sleep(60)
options.print_json = wait
main.main(["studies", "--json"])
"""


def test_ctrl_c_ends_in_one_line_and_130():
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        (line,) = process.stderr.read().splitlines()
    assert line.startswith("Interrupted;")
    assert process.returncode == 130


def test_a_bug_of_ours_ends_in_3_and_says_how_to_see_more(type_in: Type, tiny: str, monkeypatch: pytest.MonkeyPatch):
    def fail(value: object) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("rheostat.cli.options.print_json", fail)
    typed = type_in("sites", tiny, "--json")
    assert typed.code == InternalError.exit_code
    assert typed.err == (
        "InternalError: ZeroDivisionError: two lines. This is a bug of rheostat; RHEOSTAT_DEBUG=1 shows where.\n"
    )
    monkeypatch.setenv("RHEOSTAT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        type_in("sites", tiny, "--json")


# --- the default model ------------------------------------------------------------------------------------------------


def example(module: object) -> list[str]:
    """Return the arguments of a command's example."""
    return shlex.split(module.EXAMPLE.removeprefix("Example: "))[1:]


@pytest.mark.slow
def test_the_lens_reads_germany_in_block_23_and_berlin_at_the_end(type_in: Type):
    typed = type_in("lens", PROMPT, "--json")
    top = {(row["block"], row["point"]): row for row in json.loads(typed.out) if row["rank"] == 1}
    assert top[29, "resid_post"]["token"] == " Berlin"
    assert top[29, "resid_post"]["probability"] == pytest.approx(0.796, abs=0.002)
    assert top[23, "attn_out"]["token"] == " Germany" and top[23, "attn_out"]["probability"] >= 0.9


@pytest.mark.slow
def test_replacing_one_activation_makes_paris_the_answer(type_in: Type):
    replace = ("--replace", "blocks.23.attn_out=The capital of France is", "--max-new-tokens", "3")
    assert type_in("generate", PROMPT, "--max-new-tokens", "3").out.startswith(f"{PROMPT} Berlin")
    typed = type_in("generate", PROMPT, *replace)
    assert typed.out.startswith(f"{PROMPT} Paris")
    assert typed.err.startswith("1 site, 1 row, 1 token\n")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_parts_of_the_default_model_add_up(type_in: Type, dtype: str):
    assert type_in("check", "--dtype", dtype).code == 0


@pytest.mark.slow
def test_the_demonstration_writes_a_page_that_names_the_site_it_found(type_in: Type):
    typed = type_in("demo", "--json")
    site = json.loads(typed.out)["site"]
    assert typed.code == 0
    page = Path("demo/index.html").read_text(encoding="utf-8")
    assert site in page and "Paris" in page


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", ["lens", "generate", "steer", "patch", "trace", "demo", "studies", "models", "sites", "check"]
)
def test_the_example_of_a_command_runs(type_in: Type, command: str):
    typed = type_in(*example(import_module(f"rheostat.cli.{command}")))
    assert typed.code == 0, typed.err
    written = {
        "lens": "lens.html",
        "steer": "steer.html",
        "patch": "patch.html",
        "trace": "trace.html",
        "demo": "demo/index.html",
    }.get(command)
    assert written is None or Path(written).is_file()


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_examples_of_a_study_and_its_claims_run(type_in: Type):
    from rheostat.cli import claims, run

    typed = type_in(*example(run))
    assert typed.code == 0, typed.err
    Path("runs/decoding-quick").rename("runs/decoding")  # the next example reads a full run; a quick one stands in
    typed = type_in(*example(claims))
    assert typed.code == 0, typed.err
    assert "decode-11" in Path("claims.md").read_text(encoding="utf-8")


@pytest.mark.slow  # two commands that load models
def test_impair_and_compare_print_tables_and_write_a_record(type_in: Type, tiny: str, tmp_path: Path) -> None:
    task = own_task(tiny, tmp_path)
    levels = ("--task", str(task), "--intensities", "0.5,2")
    found = type_in("impair", tiny, *levels, "--out", "impaired")
    assert found.code == 0, found.err
    assert "half damage" in found.out
    assert {path.name for path in Path("impaired/figures").glob("*.png")} == {
        "accuracy-under-damage.png",
        "loss-under-damage.png",
    }
    assert "under damage" in Path("impaired/index.html").read_text()
    assert arguments_of("impaired") == {
        "model": tiny,
        "mode": "gaussian",
        "kind": "mlp_out",
        "cluster": None,
        "distribution": "normal",
        "intensities": [0.0, 0.5, 2.0],
        "absolute": False,
        "draws": None,
        "bound": [0.9, 0.5],
        "seed": 0,
        "dtype": "float32",
        "device": "cpu",
        "attention": ["sdpa"],
        "task": [read_task(task).describe()],
    }
    assert type_in("impair", tiny, *levels, "--out", "impaired").code == 0
    plain = json.loads(type_in("impair", tiny, *levels, "--mode", "magnitude", "--intensities", "0.5,1", "--json").out)
    assert [point["intensity"] for point in plain["points"]] == [0, 0.5, 1]
    found = type_in("compare", tiny, tiny, *levels, "--out", "compared")
    assert found.code == 0, found.err
    assert "other draws" in found.out
    assert "Control, each model against itself" in found.out
    assert arguments_of("compared") == {
        "model_a": tiny,
        "model_b": tiny,
        "mode": "gaussian",
        "kind": "mlp_out",
        "distribution": "normal",
        "intensities": [0.0, 0.5, 2.0],
        "absolute": None,
        "draws": None,
        "bound": [0.9, 0.5],
        "seed": 0,
        "dtype": "float32",
        "device": "cpu",
        "attention": ["sdpa", "sdpa"],
        "task": [read_task(task).describe()],
    }
    plain = json.loads(type_in("compare", tiny, tiny, *levels, "--json").out)
    assert plain["asked"] == 3 and plain["kept"] >= 2
    assert {row["sturdier"] for row in plain["quantities"]} == {""}
    refused = type_in("compare", tiny, tiny, *levels, "--out", "impaired")
    assert refused.code == 2
    assert "WouldOverwrite" in refused.err


def test_the_record_of_a_damage_names_the_units_that_were_damaged(type_in: Type, tiny: str, tmp_path: Path) -> None:
    task, model = own_task(tiny, tmp_path), rh.load(tiny)
    cluster = rh.Cluster("resid_post", {1: (0, 2)}, "random", "own", model.name, model.weight_hash)
    cluster.save("own.json")
    chosen = ("--cluster", "own.json", "--bound", "0.7", "--seed", "3", "--draws", "2", "--distribution", "uniform")
    typed = type_in("impair", tiny, "--task", str(task), "--intensities", "1", *chosen, "--absolute", "--out", "one")
    assert typed.code == 0, typed.err
    found = arguments_of("one")
    assert found["cluster"] == cluster.describe() != replace(cluster, units={1: (0, 3)}).describe()
    assert (found["kind"], found["distribution"], found["absolute"]) == ("resid_post", "uniform", True)
    assert (found["bound"], found["seed"], found["draws"]) == ([0.7], 3, 2)


def arguments_of(folder: str) -> dict[str, object]:
    """Return the arguments that a record states."""
    found: dict[str, object] = json.loads(Path(folder, "record.json").read_text())["arguments"]
    return found


def own_task(tiny: str, folder: Path) -> Path:
    """Write a task of what the model answers anyway."""
    model, lines = rh.load(tiny), []
    for prompt in ("The capital of", "The capital of France is", "The Berlin of"):
        lines.append(json.dumps({"prompt": prompt, "answer": model.generate(prompt, max_new_tokens=1).text}))
    path = folder / "own.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_lens_says_which_of_several_tokens_it_shows(type_in: Type, tiny: str):
    several = type_in("lens", PROMPT, "--position", "all", "--model", tiny)
    n = len(rh.load(tiny).encode(PROMPT))
    assert several.err == f"{n} tokens were read; shown is the last of them. --json and --csv hold all.\n"
    alone = type_in("lens", PROMPT, "--model", tiny)
    assert (alone.out, alone.err) == (several.out, "")
