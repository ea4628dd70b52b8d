"""`rheostat patch`: which activations carry the answer."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rheostat.base.errors import BadArgument
from rheostat.cli import options

if TYPE_CHECKING:
    from rheostat.tracing.patching import Patching

EXAMPLE = (
    'Example: rheostat patch "The capital of Germany is" "The capital of France is" '
    '--answer " Berlin" --versus " Paris" --html patch.html'
)
N_NEURONS = 100
"""Single neurons that are patched unless said otherwise: those of largest estimate."""
N_SHOWN = 10


def command(
    clean: Annotated[str, typer.Argument(help="The prompt whose answer is --answer.")],
    corrupt: Annotated[str, typer.Argument(help="A prompt with as many tokens whose answer is --versus.")],
    answer: Annotated[str, typer.Option(help="One token; most words need their leading space.")],
    versus: Annotated[str, typer.Option(help="The token that it is compared with.")],
    site: Annotated[
        str, typer.Option(help="Kind of site: resid_pre, attn_out, mlp_out, heads, neurons, …")
    ] = "resid_pre",
    position: Annotated[
        str, typer.Option(help="Tokens to patch: all, last, an index, start:stop, or a substring.")
    ] = "all",
    direction: Annotated[
        Literal["denoise", "noise"],
        typer.Option(help="denoise: clean activations into the corrupted run; noise: the reverse."),
    ] = "denoise",
    by_unit: Annotated[
        bool | None,
        typer.Option(
            "--by-unit/--whole",
            help="Each head, neuron or dimension alone, or all of a token together. Default: heads and neurons alone.",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(help="Only the places of largest estimate. Default: 100 single neurons, else all.", min=1),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Attribution patching: estimate by one gradient instead of running each.")
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(help="With --estimate: average the gradient over so many steps between the prompts.", min=1),
    ] = None,
    model: options.ModelOption = options.DEFAULT_MODEL,
    json: options.JsonOption = False,
    png: Annotated[Path | None, typer.Option(help="Write the picture here (.png).")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page here (.html).")] = None,
    overwrite: options.OverwriteOption = False,
    dtype: options.DtypeOption = "float32",
    device: options.DeviceOption = "cpu",
    attention: options.AttentionOption = None,
    executor: options.ExecutorOption = "local",
    address: options.AddressOption = None,
    workers: options.WorkersOption = None,
) -> None:
    """Patch activations of a clean prompt into a corrupted run.

    The score is 0 where the answer stays that of the corrupted run, and 1 where it becomes that of the clean one.
    Single heads are shown as blocks × heads, each at the token where it does most; of neurons the strongest of a block.
    """
    given = options.arguments(locals())
    options.check_output("--png", png, ".png", overwrite=overwrite)
    options.check_output("--html", html, ".html", ".htm", overwrite=overwrite)
    if steps is not None and not estimate:
        raise BadArgument(f"--steps {steps} says nothing without --estimate. Give --estimate too, or leave it out.")
    if estimate and executor != "local":
        raise BadArgument(f"--executor {executor} says nothing with --estimate, which is two passes. Leave it out.")
    alone = site in ("heads", "neurons") if by_unit is None else by_unit
    limit = N_NEURONS if top is None and alone and site == "neurons" else top
    from rheostat.model import load
    from rheostat.tracing.activation_patching import patch_activations
    from rheostat.tracing.attribution_patching import attribute_patching

    patching: Callable[..., Patching] = partial(
        patch_activations, executor=executor, address=address, n_workers=workers
    )
    if estimate:
        patching = partial(attribute_patching, steps=steps or 1)
    loaded = load(model, dtype=dtype, device=device, attention=attention)
    found = patching(
        loaded,
        clean,
        corrupt,
        answer=answer,
        versus=versus,
        kind=site,
        positions=options.positions(position),
        direction=direction,
        by_unit=alone,
        top=limit,
    )
    grid = found.grid()
    if json:
        options.print_json(found.rows())
    else:
        from rheostat.report.terminal import frame_table, grid_table

        options.console().print(grid_table(grid))
        if alone:
            shown = found.strongest(N_SHOWN)
            options.console().print(frame_table(shown.drop(columns="site"), f"The {len(shown)} strongest"))
    made = options.facts(given, loaded)
    options.write_pictures(grid, found.table, png=png, html=html, overwrite=overwrite, facts=made)
