"""`rheostat trace`: which activations carry a fact past noise on its subject."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from rheostat.cli import options

EXAMPLE = (
    'Example: rheostat trace "The city of Marseille is located in the country of" --subject Marseille '
    "--draws 3 --html trace.html"
)


def command(
    prompt: Annotated[str, typer.Argument(help="A text that ends where the answer begins.")],
    subject: Annotated[str, typer.Option(help="The part of it that is drowned in noise.")],
    answer: Annotated[
        str | None, typer.Option(help="One token, with its leading space. Default: the model's own first choice.")
    ] = None,
    site: Annotated[
        str, typer.Option(help="Kind of site that is put back: resid_post, mlp_out, attn_out, …")
    ] = "resid_post",
    window: Annotated[
        int | None,
        typer.Option(
            help="Blocks put back together. Default: one; of mlp_out and attn_out a fifth of the depth.", min=1
        ),
    ] = None,
    severed: Annotated[
        Literal["attn_out", "mlp_out"] | None,
        typer.Option(help="Keep these of the token's later blocks as under the noise."),
    ] = None,
    draws: Annotated[int, typer.Option(help="Draws of the noise; the work grows with them.", min=1)] = 10,
    seed: options.SeedOption = 0,
    model: options.ModelOption = options.DEFAULT_MODEL,
    json: options.JsonOption = False,
    png: Annotated[Path | None, typer.Option(help="Write the picture here (.png).")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page here (.html).")] = None,
    overwrite: options.OverwriteOption = False,
    dtype: options.DtypeOption = "float32",
    device: options.DeviceOption = "cpu",
    attention: options.AttentionOption = None,
) -> None:
    """Trace what carries a fact past noise on its subject.

    Shows the answer's probability when one clean activation is put back into the noised run, for every token and block.
    """
    given = options.arguments(locals())
    options.check_output("--png", png, ".png", overwrite=overwrite)
    options.check_output("--html", html, ".html", ".htm", overwrite=overwrite)
    from rheostat.model import load
    from rheostat.tracing.causal_tracing import causal_trace

    loaded = load(model, dtype=dtype, device=device, attention=attention)
    found = causal_trace(
        loaded,
        prompt,
        subject=options.positions(subject),
        answer=answer,
        kind=site,
        window=window,
        severed=severed,
        draws=draws,
        seed=seed,
    )
    grid = found.grid()
    if json:
        options.print_json(found.to_dict())
    else:
        from rheostat.report.terminal import grid_table

        options.console().print(grid_table(grid))
    made = options.facts(given, loaded)
    options.write_pictures(grid, found.table, png=png, html=html, overwrite=overwrite, facts=made)
