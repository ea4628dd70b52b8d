"""Options that several commands share, and how their texts are read."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rheostat.base.errors import BadArgument, EditNotUsable, FileNotUsable
from rheostat.base.files import atomic_file, output_path

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from rheostat.base.shapes import Figure
    from rheostat.edit.edit import Edit
    from rheostat.edit.plan import Plan
    from rheostat.models.network import Network

DEFAULT_MODEL = "smollm2-135m-instruct"
_OF_OUTPUT = ("out", "png", "html", "json", "overwrite", "address", "workers")
"""Arguments that no number depends on."""

ModelOption = Annotated[str, typer.Option("--model", "-m", help="Built-in name, hub name, folder or .gguf file.")]
DtypeOption = Annotated[str, typer.Option(help="float64, float32, bfloat16 or float16.")]
DeviceOption = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps.")]
AttentionOption = Annotated[
    Literal["sdpa", "eager"] | None,
    typer.Option(help="How attention is computed: sdpa or eager. Default: what the model prefers, mostly sdpa."),
]
ExecutorOption = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Who computes: local, this process; ray, the workers of a Ray cluster (rheostat[ray])."),
]
AddressOption = Annotated[
    str | None, typer.Option(help="Of a running Ray cluster, such as 10.0.0.5:6379. Default: a local one.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", help="Of the Ray cluster. Default: one per GPU with --device cuda, else one per CPU."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
SeedOption = Annotated[int, typer.Option(help="Seed of everything that is drawn.", min=0, max=2**63 - 1)]
EditOption = Annotated[
    list[Path] | None, typer.Option("--edit", help="A saved plan (.json or .safetensors). Repeatable.")
]
ReplaceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--replace", metavar="SITE=PROMPT", help="Put the other prompt's last-token activation there. Repeatable."
    ),
]
MixOption = Annotated[
    list[str] | None,
    typer.Option(
        "--mix", metavar="SITE=PROMPT", help="Add the other prompt's last-token activation, times --factor, there."
    ),
]
FactorOption = Annotated[float | None, typer.Option(help="Factor of --mix. Default: 0.7.")]
MixKindOption = Annotated[
    str | None,
    typer.Option(
        "--mix-kind", help="Which activation --mix reads in that block, such as resid_mid. Default: the site itself."
    ),
]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at", help="Tokens that --replace and --mix change: last, all, prompt, generated, 3, 1:4 or a substring."
    ),
]


def positions(text: str) -> str | int | slice:
    """Read positions as typed: an integer, `start:stop`, a keyword or a substring."""
    if text.removeprefix("-").isdigit():
        return int(text)
    start, colon, stop = text.partition(":")
    if colon and all(part.removeprefix("-").isdigit() or part == "" for part in (start, stop)) and text != ":":
        return slice(int(start) if start else None, int(stop) if stop else None)
    return text


def edits(
    files: Sequence[Path] | None,
    replace: Sequence[str] | None,
    mix: Sequence[str] | None,
    *,
    factor: float | None,
    mix_kind: str | None,
    at: str | None,
) -> "list[Edit]":
    """Build the plan that the options describe; --replace changes the last token by default, --mix every token.

    Raises:
        BadArgument: an option describes an edit that is not there.
    """
    _needs("--factor", factor, "--mix", mix)
    _needs("--mix-kind", mix_kind, "--mix", mix)
    _needs("--at", at, "--replace or --mix", [*(replace or ()), *(mix or ())])
    from rheostat.edit.patching import Mix, Replace
    from rheostat.edit.source import FromPrompt

    found: list[Edit] = [edit for path in files or () for edit in _read_plan(path)]
    for text in replace or ():
        site, prompt = _site_and_prompt("--replace", text)
        found.append(Replace(site, FromPrompt(prompt), positions=positions("last" if at is None else at)))
    for text in mix or ():
        site, prompt = _site_and_prompt("--mix", text)
        times = 0.7 if factor is None else factor
        found.append(Mix(site, prompt, times, mix_kind, positions=positions("all" if at is None else at)))
    return found


def print_json(value: Any) -> None:
    """Print JSON on stdout; NaN becomes null, and what a locale cannot spell becomes an escape."""
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    print(json.dumps(_without_nan(value), ensure_ascii=plain, indent=1, default=str, allow_nan=False))


def console() -> "Console":
    """Return the console of stdout; when that is no terminal, colours are dropped and lines may be 160 wide."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160)


def note(text: str) -> None:
    """Print a remark on stderr."""
    print(text, file=sys.stderr)


def check_output(option: str, path: Path | None, *suffixes: str, overwrite: bool) -> None:
    """Check an output's name, if one is given, before anything is computed. Other kinds of output end otherwise.

    Raises:
        BadArgument: the name ends in none of `suffixes`.
        WouldOverwrite, FileNotUsable
    """
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise BadArgument(f"{option} {path}: give a name that ends in {' or '.join(suffixes)}.")
    output_path(path, overwrite=overwrite)


def write(path: Path, content: str | bytes, *, overwrite: bool) -> None:
    """Write a file, whole or not at all, and say so on stderr."""
    with atomic_file(output_path(path, overwrite=overwrite)) as target:
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    note(f"wrote {path}")


def _needs(option: str, value: object, edit: str, given: Sequence[str] | None) -> None:
    if value is not None and not given:
        raise BadArgument(f"{option} {value} says nothing without {edit}. Give {edit} too, or leave {option} out.")


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    return value


def _read_plan(path: Path) -> "Plan":
    from rheostat.edit.plan import Plan

    if not path.is_file():
        raise FileNotUsable(f"there is no file {path}. A plan is written by rheostat.Plan((…,)).save({path.name!r}).")
    if path.suffix not in (".json", ".safetensors"):
        raise FileNotUsable(f"{path} is no plan: a plan is a .json or .safetensors file that rheostat.Plan.save wrote.")
    try:
        return Plan.load(path)
    except (EditNotUsable, BadArgument) as error:
        raise type(error)(f"{path}: {error}") from error


def _site_and_prompt(option: str, text: str) -> tuple[str, str]:
    site, equals, prompt = text.partition("=")
    if not (equals and site and prompt):
        raise BadArgument(
            f"{option} {text!r}: write SITE=PROMPT, such as blocks.23.attn_out='The capital of France is'."
        )
    return site, prompt


def arguments(given: Mapping[str, object]) -> dict[str, object]:
    """Return all that a command was given, its `locals()` at first, but for what no number depends on; as JSON."""
    return dict(json.loads(json.dumps({k: v for k, v in given.items() if k not in _OF_OUTPUT}, default=str)))


def facts(given: Mapping[str, object], network: "Network") -> dict[str, object]:
    """Return how a page was made: by which arguments, on which model, with which versions."""
    from rheostat.studies.run import versions

    made = {**given, "attention": network.attention}
    return {"models": network.describe(), "arguments": made, "versions": versions()}


def write_pictures(
    figure: "Figure",
    rows: "pd.DataFrame",
    *,
    png: Path | None,
    html: Path | None,
    overwrite: bool,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Write a figure as a picture, and as a page with its rows and how it was made, where asked for."""
    if png is not None:
        from rheostat.report.figures import png as drawn

        write(png, drawn(figure), overwrite=overwrite)
    if html is not None:
        from rheostat.report.page import page

        made = page(figure.title, figures={figure.name: figure}, tables={"rows": rows}, facts=facts)
        write(html, made, overwrite=overwrite)
