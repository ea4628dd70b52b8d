"""`rheostat generate`: continue a prompt under edits."""

from typing import Annotated

import typer

from rheostat.cli import options

EXAMPLE = (
    'Example: rheostat generate "The capital of Germany is" --replace "blocks.23.attn_out=The capital of France is" '
    "--max-new-tokens 12"
)


def command(
    prompts: Annotated[list[str], typer.Argument(help="One or several texts; they run as one batch.")],
    model: options.ModelOption = options.DEFAULT_MODEL,
    edit: options.EditOption = None,
    replace: options.ReplaceOption = None,
    mix: options.MixOption = None,
    factor: options.FactorOption = None,
    mix_kind: options.MixKindOption = None,
    at: options.AtOption = None,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens to write at most.", min=1)] = 20,
    temperature: Annotated[float | None, typer.Option(help="Sample at this temperature; default: greedy.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Sample among the k likeliest tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Sample among the tokens that reach this probability.")] = None,
    seed: options.SeedOption = 0,
    json: options.JsonOption = False,
    dtype: options.DtypeOption = "float32",
    device: options.DeviceOption = "cpu",
    attention: options.AttentionOption = None,
) -> None:
    """Continue prompts, with edits applied at every step.

    Text goes to stdout, the receipt to stderr. A file for --edit is written in Python:
    rheostat.Plan((rheostat.Scale("blocks.5.mlp_out", 0.5),)).save("half.json"); .safetensors suits large vectors.
    """
    from rheostat.model import load

    plan = options.edits(edit, replace, mix, factor=factor, mix_kind=mix_kind, at=at)
    loaded = load(model, dtype=dtype, device=device, attention=attention)
    written = loaded.generate(
        prompts, plan, max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
    )
    if json:
        rows = [
            {"prompt": p, "text": t, "ids": list(i)}
            for p, t, i in zip(prompts, written.texts, written.ids, strict=True)
        ]
        options.print_json({"model": loaded.name, "rows": rows, "receipt": written.receipt.to_dict()})
        return
    for text in written.full_texts:
        print(text)
    if plan:
        options.note(str(written.receipt))
