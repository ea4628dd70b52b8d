"""`rheostat steer`: plain and steered text side by side."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rheostat.base.errors import BadArgument, FileNotUsable
from rheostat.cli import options

if TYPE_CHECKING:
    from rheostat.directions.directions import Directions
    from rheostat.edit.plan import Plan
    from rheostat.model import Model
    from rheostat.sites.positions import PositionsLike
    from rheostat.steering.budget import StrengthSearch

EXAMPLE = (
    'Example: rheostat steer "I went up to my friend and said" --contrast " weddings" " " --block 6 --strength 4 '
    "--control --html steer.html"
)
DIRECTION = re.compile(r"(?P<sign>[+-]?)(?P<path>.+?)(?::(?P<weight>\d+\.?\d*))?")


def command(
    prompts: Annotated[list[str], typer.Argument(help="One or several texts; they run as one batch.")],
    direction: Annotated[
        list[str] | None,
        typer.Option(
            "--direction",
            metavar="[+|-]FILE[:WEIGHT]",
            help="A saved direction (.safetensors), or a control vector (.gguf); - subtracts it. Repeatable: they "
            "apply in the order given.",
        ),
    ] = None,
    any_weights: Annotated[
        bool,
        typer.Option("--any-weights", help="Take directions whatever weights they were fitted on; widths are checked."),
    ] = False,
    contrast: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--contrast",
            metavar="MORE LESS",
            help="Instead, two prompts whose difference is added to the first tokens, token by token.",
        ),
    ] = None,
    strength: Annotated[float | None, typer.Option(help="Factor of all directions. Default: 1.")] = None,
    budget_kl: Annotated[
        float | None,
        typer.Option(help="Instead, the largest strength with at most this KL on neutral text, in nats per token."),
    ] = None,
    budget_perplexity: Annotated[
        float | None, typer.Option(help="The same with at most this ratio of perplexities, above 1.")
    ] = None,
    neutral: Annotated[
        Path | None,
        typer.Option(help="Neutral texts for the budget, one per line. Default: openings of 20 news articles."),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(help="Which of a file's directions, such as blocks.12-16.resid_post. Default: the best."),
    ] = None,
    block: Annotated[int | None, typer.Option(help="The same by the number of the block.")] = None,
    operator: Annotated[
        Literal["add", "project", "piecewise", "replace"],
        typer.Option(
            help="add: h + s·v; project: take the component along v out; piecewise: add v on the side where h lies; "
            "replace: v itself, for task vectors."
        ),
    ] = "add",
    keep_norm: Annotated[
        bool, typer.Option("--keep-norm", help="Scale each activation back to the norm it had.")
    ] = False,
    positions: Annotated[
        str | None,
        typer.Option(help="Tokens that change: all, prompt, generated, last, 3, 1:4 or a substring. Default: all."),
    ] = None,
    first: Annotated[
        int | None, typer.Option(help="Only the first so many tokens that the model writes.", min=1)
    ] = None,
    decay: Annotated[float | None, typer.Option(help="Factor of the strength per token written, such as 0.9.")] = None,
    control: Annotated[
        bool, typer.Option("--control", help="Show what random directions of equal length do, too.")
    ] = False,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens to write at most.", min=1)] = 40,
    temperature: Annotated[float | None, typer.Option(help="Sample at this temperature; default: greedy.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Sample among the tokens that reach this probability.")] = None,
    seed: options.SeedOption = 0,
    model: options.ModelOption = options.DEFAULT_MODEL,
    json: options.JsonOption = False,
    html: Annotated[Path | None, typer.Option(help="Write the page here (.html).")] = None,
    overwrite: options.OverwriteOption = False,
    dtype: options.DtypeOption = "float32",
    device: options.DeviceOption = "cpu",
    attention: options.AttentionOption = None,
) -> None:
    """Write plain and steered texts side by side.

    Below them stand the receipt and the relative dose. Sampled texts of one prompt share their noise, so that what
    differs is what the directions did.
    """
    options.check_output("--html", html, ".html", ".htm", overwrite=overwrite)
    _check(direction, contrast, strength, budget_kl, budget_perplexity, neutral)
    if any_weights and not direction:
        raise BadArgument("--any-weights is about the files of --direction; leave it out.")
    where = _positions(positions, first)
    if contrast is not None:
        _check_contrast(site, block, first_tokens=operator == "add" and where == "all" and decay is None)
    from rheostat.edit.plan import Plan
    from rheostat.model import load
    from rheostat.report.steered import dose_lines, steered_page, steered_table
    from rheostat.steering.plan import steering_plan
    from rheostat.steering.select import select
    from rheostat.steering.steer import steer

    parts = [_file_and_weight(text) for text in direction or ()]
    for path, _ in parts:
        _read(path)  # a mistake in a file is said before the model is loaded
    texts = _lines(neutral) if neutral is not None else None
    loaded = load(model, dtype=dtype, device=device, attention=attention)
    plan = Plan()
    for path, weight in parts:
        read = _read(path, loaded)
        plan += steering_plan(
            select(loaded, read.without_weights() if any_weights else read, site=site, block=block),
            operator=operator,
            strength=weight,
            positions=where,
            decay=decay,
            keep_norm=keep_norm,
        )
    if contrast is not None:
        plan = _contrast(loaded, contrast, site or f"blocks.{block}.resid_pre", keep_norm=keep_norm)
    search = _search(loaded, plan, budget_kl, budget_perplexity, texts, seed)
    found = steer(
        loaded,
        prompts,
        plan,
        strength=search.strength if search is not None else 1.0 if strength is None else strength,
        control=control,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
    )
    if json:
        options.print_json({**found.to_dict(), "search": None if search is None else search.to_dict()})
    else:
        options.console().print(steered_table(found))
        print(dose_lines(found))
        if search is not None:
            print(search)
    if html is not None:
        by = " − ".join(map(repr, contrast)) if contrast is not None else ", ".join(direction or ())
        options.write(html, steered_page(found, search, by=by), overwrite=overwrite)


def _check(
    direction: list[str] | None,
    contrast: tuple[str, str] | None,
    strength: float | None,
    budget_kl: float | None,
    budget_perplexity: float | None,
    neutral: Path | None,
) -> None:
    """Refuse options that contradict one another."""
    if bool(direction) == (contrast is not None):
        raise BadArgument("give what steers: --direction FILE, or --contrast MORE LESS; not both.")
    given = [
        f"{name} {value}"
        for name, value in (
            ("--strength", strength),
            ("--budget-kl", budget_kl),
            ("--budget-perplexity", budget_perplexity),
        )
        if value is not None
    ]
    if len(given) > 1:
        raise BadArgument(f"{' and '.join(given)} each say how strongly. Give one of them.")
    if neutral is not None and budget_kl is None and budget_perplexity is None:
        raise BadArgument(f"--neutral {neutral} says nothing without --budget-kl or --budget-perplexity.")


def _check_contrast(site: str | None, block: int | None, *, first_tokens: bool) -> None:
    """Refuse what a contrast pair cannot do, and a place that is not named or named twice."""
    if not first_tokens:
        raise BadArgument(
            "--contrast adds to the first tokens: leave --operator, --positions, --first and --decay out."
        )
    if site is None and block is None:
        raise BadArgument("--contrast needs to know where: give --block 6, or --site blocks.6.resid_pre.")
    if site is not None and block is not None:
        raise BadArgument(f"--site {site} and --block {block} both say where. Give one of them.")


def _positions(text: str | None, first: int | None) -> "PositionsLike":
    from rheostat.sites.positions import Positions

    if first is None:
        return options.positions(text or "all")
    if text not in (None, "generated"):
        raise BadArgument(f"--first {first} counts generated tokens; --positions {text} names others. Leave one out.")
    return Positions.generated(first)


def _file_and_weight(text: str) -> tuple[str, float]:
    """Return a file of directions and the weight that they were given."""
    found = DIRECTION.fullmatch(text)
    if found is None:
        raise BadArgument(f"--direction {text!r}: write FILE, -FILE or FILE:WEIGHT.")
    return found["path"], float(found["weight"] or 1) * (-1 if found["sign"] == "-" else 1)


def _read(path: str, network: "Model | None" = None) -> "Directions":
    """Return the directions of a file; a control vector gets those of the network's blocks that it holds."""
    from rheostat.directions.directions import Directions

    return Directions.from_gguf(path, network=network) if path.lower().endswith(".gguf") else Directions.load(path)


def _lines(path: Path) -> list[str]:
    try:
        texts = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise FileNotUsable(f"{path} cannot be read as texts: {error}") from error
    if not texts:
        raise FileNotUsable(f"{path} holds no text. Write one per line.")
    return texts


def _contrast(loaded: "Model", pair: tuple[str, str], site: str, *, keep_norm: bool) -> "Plan":
    from rheostat.directions.activation_addition import prompt_vectors
    from rheostat.edit.plan import Plan

    vectors = prompt_vectors(loaded, *pair, site)
    return Plan(tuple(replace(vector.add(), keep_norm=keep_norm) for vector in vectors.values()))


def _search(
    loaded: "Model", plan: "Plan", max_kl: float | None, max_ratio: float | None, texts: list[str] | None, seed: int
) -> "StrengthSearch | None":
    if max_kl is None and max_ratio is None:
        return None
    from rheostat.steering.budget import strength_for
    from rheostat.steering.neutral import neutral_texts

    found = strength_for(
        loaded,
        plan,
        neutral_texts() if texts is None else texts,
        max_kl=max_kl,
        max_perplexity_ratio=max_ratio,
        seed=seed,
    )
    if not found.exceeded:
        option = "--budget-perplexity" if max_kl is None else "--budget-kl"
        raise BadArgument(
            f"{option} {found.budget:g}: no strength up to {found.strength:.3g} exceeds it, for the edits change next "
            "to nothing on the neutral texts. Give --strength."
        )
    return found
