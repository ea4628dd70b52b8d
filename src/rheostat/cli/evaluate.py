"""`rheostat evaluate`: how far an impairment may be lowered, found out through an API alone."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rheostat.base.errors import BadArgument, FileNotUsable
from rheostat.cli import options

if TYPE_CHECKING:
    from rheostat.evaluation.record import Evaluation

EXAMPLES = {
    "run": "Example: rheostat evaluate run http://127.0.0.1:8765 --task capitals --threshold 0.5 --out evaluation",
    "verify": "Example: rheostat evaluate verify evaluation/record.json",
    "agree": "Example: rheostat evaluate agree evaluation/record.json audit.jsonl",
    "key": "Example: rheostat evaluate key evaluator.pem",
}

RecordArgument = Annotated[Path, typer.Argument(help="record.json of an evaluation.")]

app = typer.Typer(
    help="Walk a served model's impairment down, and sign it.",
    epilog=EXAMPLES["run"],
    rich_markup_mode=None,
)


@app.command(name="run", epilog=EXAMPLES["run"])
def run(
    url: Annotated[str, typer.Argument(help="Of the API. The key is read from RHEOSTAT_API_KEY.")],
    task: Annotated[str, typer.Option(help='A file .jsonl of {"prompt", "answer"}, or the name of a built-in task.')],
    threshold: Annotated[float, typer.Option(help="Share of right answers from which on a level is dangerous.")],
    out: Annotated[Path, typer.Option(help="Folder of this evaluation; the same command again goes on in it.")],
    levels: Annotated[
        str, typer.Option(help="Impairments in the order in which they are asked, descending.")
    ] = "1,0.9,0.8,0.7,0.6,0.5,0.4,0.3,0.2,0.1,0",
    draws: Annotated[int, typer.Option(help="Draws of the noise that each item is asked under.")] = 1,
    margin: Annotated[
        float, typer.Option(help="How far the recommended level must lie above the least safe one.")
    ] = 0.05,
    confidence: Annotated[float, typer.Option(help="Of the bounds and the recommendation.")] = 0.95,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Of the API. Default: its only one.")] = None,
    max_requests: Annotated[int | None, typer.Option(help="Budget: answers in all.", min=1)] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Budget: tokens in all, as the API counts them.", min=1)
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Questions under way at once.", min=1, max=256)] = 4,
    patience: Annotated[float, typer.Option(help="Seconds to ask a busy or absent API again.", min=0)] = 120.0,
    wait: Annotated[float, typer.Option(help="Seconds to wait for a floor to be lowered.", min=0)] = 0.0,
    poll: Annotated[float, typer.Option(help="Seconds between two looks at a floor.", min=0.05)] = 5.0,
    sign_with: Annotated[
        Path | None, typer.Option(help="Private key of `rheostat evaluate key`. Default: a new one in the folder.")
    ] = None,
    key_file: Annotated[Path | None, typer.Option(help="File with the API key, in place of RHEOSTAT_API_KEY.")] = None,
    allow_http: Annotated[bool, typer.Option("--allow-http", help="Send the key in clear to another machine.")] = False,
    seed: options.SeedOption = 0,
    json: options.JsonOption = False,
) -> None:
    """Walk the impairment down until a threshold, a floor or a budget ends it.

    Writes record.json (signed) and index.html. Killed or interrupted, the same command goes on where it was. Exit code
    0: a level is recommended; 1: none is, or the server refused to go lower.
    """
    from rheostat.cli.damage import task as task_of
    from rheostat.evaluation.api import Api
    from rheostat.evaluation.protocol import Protocol
    from rheostat.evaluation.signature import check_cryptography, create_key, read_key
    from rheostat.evaluation.walk import Limits, evaluate
    from rheostat.report.evaluation_folder import write_evaluation

    protocol = Protocol(threshold, _levels(levels), draws, margin, confidence)
    check_cryptography()
    api = Api(url, _key(key_file), patience=patience, allow_http=allow_http)
    asked = task_of(task, seed)
    own = out / "signing-key.pem"
    if sign_with is None and not own.exists():
        options.note(f"signing with a new key, {own}; its public key is {create_key(own)}")
    key = read_key(sign_with or own)
    limits = Limits(max_requests, max_tokens, concurrency, wait, poll)
    found = evaluate(api, asked, protocol, out, model=model, limits=limits)
    write_evaluation(found, out, key)
    _show(found, json=json)
    options.note(f"wrote {out / 'record.json'} and {out / 'index.html'}")
    if found.refused_at is not None:
        floor = found.content["refusals"][-1]["floor"]
        known = "" if floor is None else f" (the key's floor is {floor:g})"
        options.note(
            f"refused at {found.refused_at:g}{known}; ask the owner to lower the floor, then run the same command again"
        )
    raise typer.Exit(0 if found.outcome.recommended is not None and found.refused_at is None else 1)


@app.command(name="verify", epilog=EXAMPLES["verify"])
def verify(
    record: RecordArgument,
    public_key: Annotated[
        str | None, typer.Option(help="Whose signature it must be, 64 hexadecimal digits. Default: anyone's.")
    ] = None,
    json: options.JsonOption = False,
) -> None:
    """Check that a record is as it was signed and follows from its own answers.

    Exit code 1 if not.
    """
    from rheostat.evaluation.signature import verify as check
    from rheostat.report.evaluation_page import said

    found = check(record, public_key=public_key)
    if json:
        options.print_json({"holds": found.holds, "public_key": found.public_key, "problems": found.problems})
    else:
        for problem in found.problems:
            print(problem)
        if found.holds:
            print(f"unchanged since it was signed by {found.public_key}")
            print(said(found.content))
    raise typer.Exit(0 if found.holds else 1)


@app.command(name="agree", epilog=EXAMPLES["agree"])
def agree(
    record: RecordArgument,
    log: Annotated[Path, typer.Argument(help="The owner's audit log, JSONL.")],
    json: options.JsonOption = False,
) -> None:
    """Compare a record with the owner's audit log, request by request.

    The log's chain is checked too, with its head, LOG.head, beside it. Exit code 1 if record and log do not agree.
    Check the record with `verify` first.
    """
    from rheostat.evaluation.agreement import compare_logs, read_log
    from rheostat.evaluation.signature import read_signed
    from rheostat.serve import audit

    content = read_signed(record)["content"]
    audit.verify(log)
    found = compare_logs(content, read_log(log))
    if json:
        options.print_json(
            {
                "holds": found.holds,
                "answers": found.n_answers,
                "refusals": found.n_refusals,
                "differing": found.differing,
                "only_log": found.only_log,
            }
        )
    else:
        print(f"{found.n_answers} answers and {found.n_refusals} refusals stand in both and say the same")
        for one in found.differing:
            print(f"differs: {one}")
        if found.only_log:
            n = len(found.only_log)
            print(f"{n} answers stand only in the log: under way when the evaluator was ended, or asked elsewhere")
    raise typer.Exit(0 if found.holds else 1)


@app.command(name="key", epilog=EXAMPLES["key"])
def key(
    out: Annotated[Path, typer.Argument(help="Write the private key here; it must not exist.")],
    json: options.JsonOption = False,
) -> None:
    """Make a key to sign records with, and print its public key."""
    from rheostat.evaluation.signature import create_key

    public = create_key(out)
    if json:
        options.print_json({"public_key": public})
    else:
        print(public)


def _levels(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise BadArgument(f"--levels {text}: numbers with commas between them, such as 1,0.8,0.6.") from None


def _key(file: Path | None) -> str:
    if file is None:
        found = os.environ.get("RHEOSTAT_API_KEY", "")
        if not found:
            raise BadArgument("no API key: set RHEOSTAT_API_KEY, or give --key-file FILE.")
        return found
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FileNotUsable(f"{file} cannot be read as a file with an API key ({error}).") from error


def _show(found: "Evaluation", *, json: bool) -> None:
    if json:
        shown = {name: found.content[name] for name in ("model", "task", "protocol", "points", "outcome", "refusals")}
        options.print_json({**shown, "sha256": found.sha256})
        return
    import pandas as pd

    from rheostat.report.evaluation_page import said
    from rheostat.report.terminal import frame_table

    if found.points:
        columns = ["level", "n_right", "n_answers", "share", "low", "high", "below"]
        options.console().print(frame_table(pd.DataFrame(found.content["points"])[columns]))
    print(said(found.content))
