"""`python -m bench`: run the benchmarks, print a table, write build/bench.json; exit code 1 when results disagree."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bench import (
    actadd,
    attribution,
    capture,
    directions,
    generate,
    generation_sweep,
    impaired_generation,
    impairment,
    lens,
    machine,
    plain_sweep,
    rows,
    serving,
    shapley,
    sweep,
)
from bench.outcome import Outcome
from rheostat.base.errors import RheostatError
from rheostat.base.files import atomic_file
from rheostat.model import Model, load

BENCHMARKS: Mapping[str, Callable[..., list[Outcome]]] = {
    "actadd": actadd.run,
    "attribution": attribution.run,
    "capture": capture.run,
    "directions": directions.run,
    "generate": generate.run,
    "generation_sweep": generation_sweep.run,
    "impaired_generation": impaired_generation.run,
    "lens": lens.run,
    "plain_sweep": plain_sweep.run,
    "rows": rows.run,
    "serving": serving.run,
    "shapley": shapley.run,
    "sweep": sweep.run,
}
LONG: Mapping[str, Callable[..., list[Outcome]]] = {
    "directions-long": directions.run_long,
    "impairment": impairment.run,
    "sweep-long": sweep.run_long,
}
"""Run when asked for."""
RECORD = Path("build/bench.json")
N_THREADS = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return 0, 1 when two ways disagreed, or 2 when the input was refused."""
    asked = parser().parse_args(arguments)
    torch.set_num_threads(N_THREADS)
    try:
        model = load(asked.model, dtype="float32", device=asked.device)
        record = measure(model, asked.only or [*BENCHMARKS, *(LONG if asked.long else ())], quick=asked.quick)
    except RheostatError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    with atomic_file(asked.out) as target:
        target.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if asked.json:
        print(json.dumps(record, indent=1))
    else:
        show(record, Console(width=None if sys.stdout.isatty() else 160))
    print(f"wrote {asked.out}", file=sys.stderr)
    return 0 if record["agrees"] else 1


def parser() -> argparse.ArgumentParser:
    """Return the reader of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description="Time rheostat against the plain way, in turns and on one thread; compare results.",
        epilog="Example: python -m bench --only capture --quick",
    )
    made.add_argument("--only", action="append", choices=[*BENCHMARKS, *LONG], help="run this benchmark; repeatable")
    made.add_argument("--long", action="store_true", help=f"also run {', '.join(LONG)}")
    made.add_argument("--quick", action="store_true", help="few turns: shows that everything runs and agrees, no more")
    made.add_argument("--out", type=Path, default=RECORD, help=f"file for the record (default: {RECORD})")
    made.add_argument("--json", action="store_true", help="print JSON on stdout instead of the table")
    made.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps (default: cpu)")
    made.add_argument("--model", default="smollm2-135m-instruct", help="built-in name, hub name, folder or .gguf file")
    return made


def measure(model: Model, names: Sequence[str], *, quick: bool) -> dict[str, Any]:
    """Run benchmarks; return the record: what was measured, on what, and whether the results agree."""
    load_before = machine.load()
    outcomes: list[Outcome] = []
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        outcomes += {**BENCHMARKS, **LONG}[name](model, quick=quick)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        **machine.describe(model),
        "load": [load_before, machine.load()],
        "agrees": all(outcome.agrees for outcome in outcomes),
        "outcomes": [outcome.to_dict() for outcome in outcomes],
    }


def show(record: Mapping[str, Any], console: Console) -> None:
    """Print a record as a table, with what it was measured on."""
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    console.print(f"{record['device']}, {record['threads']} thread of {record['processors']} processors; {versions}")
    console.print(
        f"{record['model']['name']}, {record['model']['dtype']}; load {record['load'][0]} to {record['load'][1]}"
    )
    table = Table(
        "benchmark", "against", "ours, s", "plain, s", "speed [quartiles]", "by CPU time", "turns", "target", "same"
    )
    for outcome in record["outcomes"]:
        table.add_row(*_cells(outcome))
    console.print(table)
    console.print("speed: the plain way's time over ours, turn by turn; above 1 we are faster. Targets fail nothing.")
    for outcome in record["outcomes"]:
        for name, seconds in outcome["parts"].items():
            console.print(f"  {outcome['case']}: {name} {seconds:.3f} s")
        for name, figure in outcome["figures"].items():
            console.print(f"  {outcome['case']}: {name}: {figure:.4g}")
        for check in outcome["checks"]:
            if not check["holds"]:
                console.print(
                    f"DISAGREE: {outcome['benchmark']}, {check['what']}: {check['error']} > {check['tolerance']}"
                )


def _cells(outcome: Mapping[str, Any]) -> list[str]:
    target = outcome["target"]
    verdict = "" if target is None else f"≥ {target:.3g} {'met' if outcome['meets_target'] else 'missed'}"
    return [
        outcome["benchmark"],
        outcome["case"],
        f"{outcome['seconds']:.4f}",
        f"{outcome['plain_seconds']:.4f}",
        _spread(outcome["speed"]),
        _spread(outcome["cpu_speed"]),
        str(outcome["speed"]["n"]),
        verdict,
        ("yes" if outcome["agrees"] else "NO") if outcome["checks"] else "–",
    ]


def _spread(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"


if __name__ == "__main__":
    sys.exit(main())
