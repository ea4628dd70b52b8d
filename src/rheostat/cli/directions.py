"""`rheostat directions`: fit a direction per block from contrast pairs, and tell it from noise."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rheostat.base.errors import BadArgument
from rheostat.cli import options

if TYPE_CHECKING:
    import pandas as pd

    from rheostat.directions.directions import Directions

EXAMPLE = "Example: rheostat directions pairs.jsonl --out truth.safetensors --html truth.html"


def command(
    pairs: Annotated[
        Path,
        typer.Argument(
            help='JSONL of contrast pairs: {"positive": …, "negative": …, "group": …} or [positive, negative].'
        ),
    ],
    concept: Annotated[
        str | None, typer.Option(help="What the positive texts have more of. Default: the file's name.")
    ] = None,
    method: Annotated[
        Literal["mean_difference", "pca", "logistic", "leace", "token_embedding"],
        typer.Option(help="mean_difference, pca, logistic, leace, or the baseline token_embedding."),
    ] = "mean_difference",
    site: Annotated[str, typer.Option(help="Where: a site or a pattern.")] = "blocks.*.resid_post",
    at: Annotated[
        str,
        typer.Option(
            help="Tokens of each text to read, averaged: last, all (every token but the first), 3, 1:4 or a substring."
        ),
    ] = "last",
    held_out: Annotated[
        float, typer.Option(help="Share of groups that nothing is fitted on; 0: no figures.", min=0, max=0.99)
    ] = 0.25,
    shuffles: Annotated[int, typer.Option(help="Fits with shuffled labels, as a control.", min=0)] = 10,
    seed: options.SeedOption = 0,
    model: options.ModelOption = options.DEFAULT_MODEL,
    out: Annotated[Path | None, typer.Option(help="Write the directions here (.safetensors).")] = None,
    gguf: Annotated[
        Path | None, typer.Option(help="Write a control vector for llama.cpp here (.gguf), without block 0.")
    ] = None,
    json: options.JsonOption = False,
    png: Annotated[Path | None, typer.Option(help="Write the picture here (.png).")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page here (.html).")] = None,
    overwrite: options.OverwriteOption = False,
    dtype: options.DtypeOption = "float32",
    device: options.DeviceOption = "cpu",
    attention: options.AttentionOption = None,
) -> None:
    """Fit a direction per block, and tell it from noise.

    Every figure comes from groups of pairs that nothing was fitted on; the best block is chosen by yet other ones.
    """
    options.check_output("--out", out, ".safetensors", overwrite=overwrite)
    options.check_output("--gguf", gguf, ".gguf", overwrite=overwrite)
    options.check_output("--png", png, ".png", overwrite=overwrite)
    options.check_output("--html", html, ".html", ".htm", overwrite=overwrite)
    if held_out == 0 and (png or html):
        raise BadArgument("--png and --html show held-out accuracy by block; with --held-out 0 there is none.")
    from rheostat.directions.pairs import read_pairs

    read = read_pairs(pairs)
    from rheostat.model import load

    loaded = load(model, dtype=dtype, device=device, attention=attention)
    found = loaded.fit_directions(
        read,
        concept=pairs.stem if concept is None else concept,
        method=method,
        sites=site,
        positions=options.positions(at),
        held_out=held_out,
        seed=seed,
        shuffles=shuffles,
    )
    if json:
        options.print_json(_data(found))
    else:
        _show(found)
    if out is not None:
        found.save(out, overwrite=overwrite)
        options.note(f"wrote {out}")
    if gguf is not None:
        found.to_gguf(gguf, without_block_0=True, overwrite=overwrite)
        left = (
            " without blocks.0.resid_post, which llama.cpp has no place for" if "blocks.0.resid_post" in found else ""
        )
        options.note(f"wrote {gguf}{left}")
    if png is not None or html is not None:
        options.write_pictures(found.profile(), found.table, png=png, html=html, overwrite=overwrite)


def _data(found: "Directions") -> dict[str, Any]:
    rows = found.table.to_dict("records") or [{"site": site, "length": one.length} for site, one in found.items()]
    best = None if found.table.empty else found.best.site
    return {"concept": found.concept, "best": best, "directions": rows}


def _show(found: "Directions") -> None:
    from rheostat.report.terminal import frame_table

    console = options.console()
    console.print(frame_table(_shown(found), f"{found.concept}: {next(iter(found.values())).method}"))
    if found.table.empty:
        return
    best = found.best_figures
    console.print(
        f"best by other held-out pairs: {best['site']}, accuracy {best['accuracy']:.3f} "
        f"[{best['low']:.3f}, {best['high']:.3f}], n = {best['n']:.0f} pairs in {best['n_groups']:.0f} groups"
    )


def _shown(found: "Directions") -> "pd.DataFrame":
    import pandas as pd

    if found.table.empty:
        return pd.DataFrame({"site": list(found), "length": [f"{one.length:.3g}" for one in found.values()]})
    rows = [
        {
            "site": row["site"],
            "accuracy [95 %]": f"{row['accuracy']:.3f} [{row['low']:.3f}, {row['high']:.3f}]",
            "shuffled ± sd": f"{row['shuffled']:.3f} ± {row['shuffled_sd']:.3f}",
            "random ± sd": f"{row['random']:.3f} ± {row['random_sd']:.3f}",
            "threshold": f"{row['threshold']:.3f}",
            "AUROC [95 %]": f"{row['auroc']:.3f} [{row['auroc_low']:.3f}, {row['auroc_high']:.3f}]",
            "by length": f"{row['by_length']:.3f}",
            "effect size": f"{row['effect_size']:.2f}",
            "length": f"{row['length']:.3g}",
        }
        for row in found.table.to_dict("records")
    ]
    return pd.DataFrame(rows)
