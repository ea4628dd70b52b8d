"""The documentation is true: every name, command and error is documented, every example runs and prints what is shown.

In the pages a `python` block runs, in one namespace per page; a `text` block right after it is what it prints. A
`console` block runs the command lines that begin with `$ rheostat`, and shows what they print. A `bash` block is only
parsed. A line `…` stands for any number of lines, and a decimal number or a rank may differ by 2 %, as it does between
machines.

`python tests/test_docs.py` writes the tables of options in docs/cli.md anew.
"""

import contextlib
import inspect
import io
import logging
import math
import re
import runpy
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import typer

import rheostat
from rheostat.base import errors
from rheostat.cli.app import app
from rheostat.cli.main import main

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RUN = [page for page in PAGES if page.parent.name != "decisions"]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LAST_LINES = {
    "read": r"blocks\.23\.attn_out reads ␣Germany with probability 0\.9\d",
    "patch": r"1 of 60 places makes ␣Paris the top token: blocks\.23\.attn_out",
    "per_row_plans": r"Italy +␣Rome +0\.\d+",
    "training_loop": r"probability of ␣Paris: 0\.007 before, 0\.[5-9]\d+ after 14 steps",
}


def all_commands() -> dict[str, typer.core.TyperCommand]:
    """Return every command by what is typed, `runs list` among them."""
    found = {}
    for name, command in typer.main.get_command(app).commands.items():
        below = command.commands.items() if isinstance(command, typer.core.TyperGroup) else ()
        found.update({f"{name} {verb}": one for verb, one in below} or {name: command})
    return found


COMMANDS = all_commands()

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DECIMAL = re.compile(r"(?<![\w.])-?\d+(?:\.\d+(?:e[+-]?\d+)?|e[+-]?\d+)(?![\w.])|(?<=rank )\d+")
LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")
REAL_MODEL = re.compile(r"load\(\"smollm2-135m-instruct\"")
ERROR_LINE = re.compile(r"^[A-Z]\w+: ", re.MULTILINE)


# --- reading pages ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    code: str
    line: int
    """Where its first line of code stands in the page."""
    shown: str | None = None
    """For python: the output that the page shows."""


def blocks(text: str, *languages: str) -> list[Block]:
    """Return the fenced blocks in some languages, in order; a `text` block right after python is its output."""
    fences = FENCE.finditer(text)
    found = []
    for fence, after in pairwise([*fences, None]):
        follows = after is not None and after[1] == "text" and not text[fence.end() : after.start()].strip()
        line = text.count("\n", 0, fence.start()) + 2
        found.append(Block(fence[1], fence[2], line, after[2] if follows and after else None))
    return [block for block in found if block.language in languages]


def matches(shown: list[str], printed: list[str]) -> bool:
    """Tell whether the lines of a page are what was printed."""
    if not shown:
        return not printed
    if shown[0].strip() == "…":
        return any(matches(shown[1:], printed[skipped:]) for skipped in range(len(printed) + 1))
    return bool(printed) and alike(shown[0], printed[0]) and matches(shown[1:], printed[1:])


def alike(shown: str, printed: str) -> bool:
    """Tell whether two lines are equal but for spacing and 2 % in their decimal numbers."""
    if DECIMAL.sub("#", shown).split() != DECIMAL.sub("#", printed).split():
        return False
    pairs = zip(DECIMAL.findall(shown), DECIMAL.findall(printed), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=0.02, abs_tol=1e-6) for a, b in pairs)


def assert_shown(shown: str, printed: str, where: str) -> None:
    """Fail, with both texts, when a page does not show what was printed."""
    lines = [[line for line in text.splitlines() if line.strip()] for text in (shown, printed)]
    assert matches(*lines), f"{where} shows\n{shown}\nbut what is printed is\n{printed}"


def run_python(page: Path) -> None:
    """Execute the python blocks of a page in one namespace and compare what they print."""
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks(page.read_text(encoding="utf-8"), "python"):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(
                compile("\n" * (block.line - 1) + block.code, str(page), "exec"), namespace
            )  # the page's own line numbers
        if block.shown is not None:
            assert_shown(block.shown, printed.getvalue(), f"{page.name}:{block.line}")


def run_console(page: Path) -> None:
    """Run the command lines of a page's console blocks and compare stdout and then stderr, and the exit code."""
    for block in blocks(page.read_text(encoding="utf-8"), "console"):
        _, *parts = re.split(r"^\$ rheostat ", block.code, flags=re.MULTILINE)
        for part in parts:
            line, _, shown = part.partition("\n")
            code, printed = run_command(line)
            where = f"{page.name}:{block.line}, rheostat {line}"
            assert code == (2 if ERROR_LINE.search(shown) else 0), f"{where} ended with {code}:\n{printed}"
            if shown.strip():
                assert_shown(shown, printed, where)


def run_command(line: str) -> tuple[int, str]:
    """Run `rheostat LINE` in this process; return its exit code and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    log = logging.getLogger("rheostat")
    before = log.handlers, log.propagate, log.level
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
            main(shlex.split(line))
    finally:
        log.handlers, log.propagate = before[:2]
        log.setLevel(before[2])
    return int(left.value.code or 0), out.getvalue() + err.getvalue()


# --- what must be documented ------------------------------------------------------------------------------------------


def error_classes() -> list[str]:
    """Return the names of all error classes of rheostat."""
    return [name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)]


def undocumented_names(api_page: str) -> set[str]:
    """Return the public names that the API reference does not show."""
    return {name for name in rheostat.__all__ if not re.search(rf"^::: rheostat\.{name}$", api_page, re.MULTILINE)}


def undocumented_errors(errors_page: str) -> set[str]:
    """Return the error classes without a row in the table of errors."""
    return {
        name for name in error_classes() if not re.search(rf"^\| `{name}` \| .+ \| .+ \|$", errors_page, re.MULTILINE)
    }


def reference(name: str) -> str:
    """Return a command's section of the command-line reference: its help, its options, its example."""
    command = COMMANDS[name]
    epilog = command.epilog.removeprefix("Example: ")
    rows = [_option_row(one) for one in command.params if "--help" not in one.opts]
    head = [f"## rheostat {name}", "", inspect.cleandoc(command.help), "", "```bash", epilog, "```", ""]
    return "\n".join([*head, "| argument or option | default | meaning |", "|---|---|---|", *rows, ""])


def _option_row(option: typer.core.TyperOption | typer.core.TyperArgument) -> str:
    is_argument = option.param_type_name == "argument"
    flags = [option.name.upper()] if is_argument else sorted(option.opts, key=len, reverse=True)
    flags += option.secondary_opts
    value = f" {option.metavar}" if option.metavar and not is_argument else ""
    unset = option.default is None or option.default is False
    default = "required" if option.required else "" if unset else f"`{option.default}`"
    return f"| {', '.join(f'`{flag}{value}`' for flag in flags)} | {default} | {option.help} |"


def outdated_commands(cli_page: str) -> set[str]:
    """Return the commands whose section is missing or differs from their help."""
    return {name for name in COMMANDS if reference(name) not in cli_page}


def parse_commands(text: str) -> None:
    """Parse every `rheostat …` line of the bash blocks, without running it."""
    for block in blocks(text, "bash"):
        for line in block.code.replace("\\\n", "").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0].rpartition("/")[2] == "rheostat":
                verbs = 3 if " ".join(words[1:3]) in COMMANDS else 2
                name = " ".join(words[1:verbs])
                COMMANDS[name].make_context(name, words[verbs:])


def unknown_targets(text: str, makefile: str) -> set[str]:
    """Return what a page tells to `make` that the Makefile does not have."""
    named = re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, re.MULTILINE)
    return {target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)}


def broken_links(page: Path) -> list[str]:
    """Return the relative links and images of a page that lead nowhere."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [one or two for one, two in LINK.findall(text)]
    local = [target for target in targets if not re.match(r"[a-z]+:|#", target)]
    return [target for target in local if not (page.parent / target.partition("#")[0]).exists()]


# --- the pages of this project ----------------------------------------------------------------------------------------


def runnable(language: str) -> list[object]:
    """Return the pages that hold blocks in a language; those that load the real model are slow."""
    pages: list[object] = []
    for page in RUN:
        found = blocks(page.read_text(encoding="utf-8"), language)
        is_slow = language == "console" or any(REAL_MODEL.search(block.code) for block in found)
        if found:
            pages.append(pytest.param(page, id=page.name, marks=[pytest.mark.slow] if is_slow else []))
    return pages


@pytest.mark.parametrize("page", runnable("python"))
def test_the_python_of_a_page_runs_and_prints_what_is_shown(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    run_python(page)


@pytest.mark.parametrize("page", runnable("console"))
def test_the_commands_of_a_page_print_what_is_shown(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    run_console(page)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAST_LINES)
def test_an_example_runs_and_finds_what_it_says(name: str, capsys: pytest.CaptureFixture[str]):
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    assert re.fullmatch(LAST_LINES[name], capsys.readouterr().out.splitlines()[-1])


def test_every_example_is_run_and_short():
    assert {file.stem for file in EXAMPLES} == set(LAST_LINES)
    assert all(len(file.read_text(encoding="utf-8").splitlines()) < 30 for file in EXAMPLES)


def test_every_public_name_is_in_the_api_reference():
    assert undocumented_names((ROOT / "docs" / "api.md").read_text(encoding="utf-8")) == set()


def test_every_error_has_its_row():
    assert undocumented_errors((ROOT / "docs" / "errors.md").read_text(encoding="utf-8")) == set()


def test_every_command_is_documented_as_its_help_says():
    outdated = outdated_commands((ROOT / "docs" / "cli.md").read_text(encoding="utf-8"))
    assert outdated == set(), "python tests/test_docs.py writes docs/cli.md anew"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_only_what_exists(page: Path):
    text = page.read_text(encoding="utf-8")
    assert broken_links(page) == []
    assert unknown_targets(text, (ROOT / "Makefile").read_text(encoding="utf-8")) == set()
    parse_commands(text)


def test_the_pictures_are_small_and_used():
    used = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.stat().st_size < 300_000
        assert f"images/{picture.name}" in used


# --- the checks above can fail ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a 0.50\n…\nz", "a 0.501\nb\nc\nz"),
        ("…\nz", "z"),
        ("a   b", "  a b  "),
        ("blocks.23.attn_out 1.2e-05", "blocks.23.attn_out 1.21e-05"),
    ],
)
def test_output_is_recognised(shown: str, printed: str):
    assert_shown(shown, printed, "here")


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a 0.50", "a 0.53"),
        ("4 tokens", "5 tokens"),
        ("blocks.23.attn_out", "blocks.24.attn_out"),
        ("a\n…\nz", "a\nb"),
        ("a", "a\nb"),
        ("a", ""),
        ("␣Paris", "Paris"),
    ],
)
def test_other_output_is_not_taken_for_what_is_shown(shown: str, printed: str):
    with pytest.raises(AssertionError, match="here shows"):
        assert_shown(shown, printed, "here")


def test_a_page_whose_python_prints_something_else_is_found(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\n\n```python\nprint(x)\n```\n\n```text\n1\n```\n", encoding="utf-8")
    run_python(page)
    page.write_text(page.read_text(encoding="utf-8").replace("x = 1", "x = 2"), encoding="utf-8")
    with pytest.raises(AssertionError, match=r"page\.md:6 shows"):
        run_python(page)


def test_a_page_whose_command_prints_something_else_is_found(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text('```console\n$ rheostat studies --json\n…\n  "name": "decoding",\n…\n```\n', encoding="utf-8")
    run_console(page)
    page.write_text(page.read_text(encoding="utf-8").replace("decoding", "encoding"), encoding="utf-8")
    with pytest.raises(AssertionError, match="rheostat studies --json shows"):
        run_console(page)
    page.write_text("```console\n$ rheostat studies --jsn\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="ended with 2"):
        run_console(page)


def test_what_a_reference_lacks_is_found():
    api = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert undocumented_names(api.replace("::: rheostat.Mix\n", "")) == {"Mix"}
    table = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert undocumented_errors(table.replace("| `EmptyPrompt` |", "| |")) == {"EmptyPrompt"}
    commands = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert outdated_commands(commands.replace("| `--top-k` |", "| `--topk` |")) == {"generate"}


def test_a_page_that_names_what_does_not_exist_is_found(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(
        '[a](page.md) [b](gone.md#x) <img src="no.png"> [c](https://example.org) [d](#e)\n', encoding="utf-8"
    )
    assert broken_links(page) == ["gone.md#x", "no.png"]
    assert unknown_targets("make demo\n`make tset`", "demo: x\ntest:\n") == {"tset"}
    parse_commands("```bash\nrheostat lens x --k 3   # fine\n```\n")
    with pytest.raises(typer.TyperException):
        parse_commands("```bash\n.venv/bin/rheostat lens x --kk 3\n```\n")
    with pytest.raises(KeyError):
        parse_commands("```bash\nrheostat lense x\n```\n")


if __name__ == "__main__":
    cli_page = ROOT / "docs" / "cli.md"
    intro = cli_page.read_text(encoding="utf-8").partition("\n## rheostat ")[0]
    cli_page.write_text("\n".join([intro, *map(reference, COMMANDS)]), encoding="utf-8")
