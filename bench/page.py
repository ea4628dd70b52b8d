"""`python -m bench.page`: write the last measurements into docs/benchmarks.md, between its markers."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PAGE = Path("docs/benchmarks.md")
RECORDS = {"sweep": Path("build/sweep.json"), "beside": Path("build/beside.json")}


def main() -> int:
    """Write every section whose record is there; return 1 where there is none at all."""
    text, written = PAGE.read_text(encoding="utf-8"), []
    for name, path in RECORDS.items():
        if path.exists():
            text = put(text, name, SECTIONS[name](json.loads(path.read_text(encoding="utf-8"))))
            written.append(name)
    PAGE.write_text(text, encoding="utf-8")
    print(f"{PAGE}: wrote {', '.join(written) or 'nothing; first run make bench-sweeps'}", file=sys.stderr)
    return 0 if written else 1


def put(text: str, name: str, section: str) -> str:
    """Return a page with the text between two markers replaced."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{PAGE} has no markers {begin.strip()} and {end}")
    return f"{before}{begin}{section}\n{end}{after}"


def sweep_section(record: Mapping[str, Any]) -> str:
    """Return the tables of sweeps: speed, floor, where the time goes."""
    cases: dict[str, dict[str, Mapping[str, Any]]] = {}
    for outcome in record["outcomes"]:
        if outcome["benchmark"] == "sweep":
            case, _, way = outcome["case"].partition(": ")
            cases.setdefault(case, {})[way] = outcome
    speed, floor, where = [], [], []
    for case, ways in cases.items():
        plain, rows = ways["one pass per cell"], ways["full rows"]
        figures, parts = plain["figures"], plain["parts"]
        differences = [check["error"] for check in plain["checks"]]
        speed.append(
            [
                case,
                plain["plain"].partition(", ")[2].removesuffix(" run"),
                f"{plain['seconds']:.3g} s",
                str(plain["speed"]["n"]),
                _ratio(plain["speed"]),
                f"{plain['cpu_speed']['median']:.3g}",
                "–" if plain["target"] is None else f"≥ {plain['target']:g}, {_met(plain)}",
                _ratio(rows["speed"]),
                f"{max(differences):.0e}",
            ]
        )
        floor.append(
            [
                case,
                f"{figures['block-token-rows at least']:,}",
                f"{figures['block-token-rows planned']:,}",
                f"{figures['passes']}",
                f"{figures['µs per block-token-row']:.0f}",
                f"{figures['floor, s']:.3g} s",
                _ratio({key: figures["ours over the floor" + end] for key, end in ENDS.items()}),
                f"{figures['passes'] * figures['a pass of one token, s']:.2g} s",
            ]
        )
        whole = sum(parts.values())
        where.append([case, f"{whole:.3g} s", *(f"{100 * seconds / whole:.0f} %" for seconds in parts.values())])
    places = list(next(iter(cases.values()))["one pass per cell"]["parts"])
    return "\n\n".join(
        [
            _measured_on(record),
            _table(SPEED_COLUMNS, speed),
            _table(FLOOR_COLUMNS, floor),
            _table(["a profiled run", "time", *places], where),
        ]
    )


ENDS = {"median": "", "low": ", low", "high": ", high"}
SPEED_COLUMNS = (
    "prompt pair, what is patched",
    "plain loop ran",
    "ours",
    "turns",
    "against the plain loop",
    "by CPU time",
    "target",
    "against full rows",
    "largest difference",
)
FLOOR_COLUMNS = (
    "prompt pair, what is patched",
    "block-token-rows at least",
    "planned",
    "passes",
    "µs each",
    "floor",
    "ours over the floor",
    "reading the weights",
)


def beside_section(record: Mapping[str, Any]) -> str:
    """Return the table of other libraries."""
    lines = [
        [
            line["question"],
            line["library"].replace("_", "-"),
            line["way"],
            f"{line['n_run']} of {line['n_cells']}",
            str(line["over_plain"]["n"]),
            _ratio(line["over_plain"]),
            f"{line['ours_is_faster']:.3g}",
            f"{line['error']:.0e}",
        ]
        for line in record["lines"]
        if line["way"] != "plain"
    ]
    versions = [
        f"{name.replace('_', '-')} {numbers[name.replace('_', '-')]}"
        for name, numbers in record["libraries"].items()
        if name != "rheostat"
    ]
    failed = [f"{library} failed: `{said.splitlines()[-1]}`" for library, said in record["failed"].items()]
    parts = [f"{_measured_on(record)} Libraries: {', '.join(versions)}.", _table(BESIDE_COLUMNS, lines), *failed]
    return "\n\n".join(parts)


BESIDE_COLUMNS = (
    "prompt pair",
    "library",
    "way",
    "cells run",
    "turns",
    "time over the plain loop's",
    "rheostat is so many times faster",
    "largest difference",
)
SECTIONS = {"sweep": sweep_section, "beside": beside_section}


def _measured_on(record: Mapping[str, Any]) -> str:
    versions = record["versions"]
    return (
        f"{record['date'][:10]}, {record['processor']}, {record['threads']} thread of {record['processors']} "
        f"processors, load {record['load'][0]} to {record['load'][1]}; torch {versions['torch']}, transformers "
        f"{versions['transformers']}; {record['model']['name']} in {record['model']['dtype']}."
    )


def _met(outcome: Mapping[str, Any]) -> str:
    return "met" if outcome["meets_target"] else "missed"


def _ratio(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.3g} [{ratio['low']:.3g}, {ratio['high']:.3g}]"


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [columns, ["---"] * len(columns), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
