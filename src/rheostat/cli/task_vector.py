"""`rheostat task-vector`: read what demonstrations of a task leave at the last token, and save it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rheostat.base.errors import BadArgument
from rheostat.cli import options

if TYPE_CHECKING:
    from rheostat.tasks.pairs import PairTask

EXAMPLE = "Example: rheostat task-vector antonyms --model gemma3-270m --out antonyms.safetensors"


def command(
    task: Annotated[str, typer.Argument(help="A pair task's name, or a file of pairs (.jsonl or .csv).")],
    k: Annotated[int, typer.Option("--k", help="Demonstrations in a prompt.", min=1)] = 5,
    sets: Annotated[int, typer.Option(help="Sets of demonstrations that are averaged.", min=1)] = 10,
    style: Annotated[
        str, typer.Option("--format", help="How prompts are written: arrow, example, question or input.")
    ] = ("arrow"),
    site: Annotated[str, typer.Option(help="Where: a site or a pattern.")] = "blocks.*.resid_post",
    seed: options.SeedOption = 0,
    model: options.ModelOption = options.DEFAULT_MODEL,
    out: Annotated[Path | None, typer.Option(help="Write the vectors here (.safetensors).")] = None,
    json: options.JsonOption = False,
    overwrite: options.OverwriteOption = False,
    dtype: options.DtypeOption = "float32",
    device: options.DeviceOption = "cpu",
    attention: options.AttentionOption = None,
) -> None:
    """Save what demonstrations of a task leave at the last token.

    Put it into a prompt without demonstrations: rheostat steer "hot ->" --direction FILE --block 9 --operator replace
    --positions last.
    """
    options.check_output("--out", out, ".safetensors", overwrite=overwrite)
    from rheostat.base.names import did_you_mean
    from rheostat.tasks.format import FORMATS

    if style not in FORMATS:
        raise BadArgument(f"--format {style!r}:{did_you_mean(style, FORMATS)} one of {', '.join(FORMATS)}.")
    asked = _task(task)
    from rheostat.directions.task_vector import task_vectors
    from rheostat.model import load

    loaded = load(model, dtype=dtype, device=device, attention=attention)
    found = task_vectors(loaded, asked, k=k, n_sets=sets, style=FORMATS[style], sites=site, seed=seed)
    rows = [
        {"site": site, "length": one.length, "token": _says(loaded.unembed(one.vector.to(loaded.dtype)[None]), loaded)}
        for site, one in found.items()
    ]
    if json:
        options.print_json({"concept": found.concept, "model": loaded.name, "vectors": rows})
    else:
        _show(found.concept, rows)
    if out is not None:
        found.save(out, overwrite=overwrite)
        options.note(f"wrote {out}")


def _task(text: str) -> "PairTask":
    from rheostat.tasks.library import pair_task
    from rheostat.tasks.read import read_pair_task

    path = Path(text)
    return read_pair_task(path) if path.suffix in (".jsonl", ".csv") else pair_task(text)


def _says(logits: Any, loaded: Any) -> str:
    return str(loaded.show_token(int(logits[0].argmax())))


def _show(concept: str, rows: list[dict[str, Any]]) -> None:
    import pandas as pd

    from rheostat.report.terminal import frame_table

    table = pd.DataFrame([{**row, "length": f"{row['length']:.3g}"} for row in rows])
    options.console().print(frame_table(table, f"{concept}: task vectors; token: the likeliest under the logit lens"))
