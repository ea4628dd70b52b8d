"""`rheostat patch`: which activations carry the answer."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from rheostat.cli import options

EXAMPLE = (
    'Example: rheostat patch "The capital of Germany is" "The capital of France is" '
    '--answer " Berlin" --versus " Paris" --html patch.html'
)


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
    by_unit: Annotated[bool, typer.Option("--by-unit", help="Patch each head, neuron or dimension alone.")] = False,
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
    """
    options.check_output("--png", png, ".png", overwrite=overwrite)
    options.check_output("--html", html, ".html", ".htm", overwrite=overwrite)
    from rheostat.model import load
    from rheostat.tracing.activation_patching import patch_activations

    found = patch_activations(
        load(model, dtype=dtype, device=device, attention=attention),
        clean,
        corrupt,
        answer=answer,
        versus=versus,
        kind=site,
        positions=options.positions(position),
        direction=direction,
        by_unit=by_unit,
        executor=executor,
        address=address,
        n_workers=workers,
    )
    grid = found.grid()
    if json:
        options.print_json(found.rows())
    else:
        from rheostat.report.terminal import grid_table

        options.console().print(grid_table(grid))
    if png is not None:
        from rheostat.report.figures import png as drawn

        options.write(png, drawn(grid), overwrite=overwrite)
    if html is not None:
        from rheostat.report.page import page

        options.write(
            html, page(grid.title, figures={grid.name: grid}, tables={"rows": found.table}), overwrite=overwrite
        )
