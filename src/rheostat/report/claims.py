"""The ledger of claims: what every study found, as one Markdown page."""

import re
from itertools import groupby

from rheostat.report.verdicts import BADGES
from rheostat.report.wording import interval, printable
from rheostat.studies.record import Record, Verdict

INTRO = """# Claims

What the literature says, and what the studies found on the models that run here. Every figure is effect − control with
its 95 % bootstrap interval; n counts what was resampled. The records are in `docs/records/`.
"""
SIGNS = " ".join(
    f"{badge.sign} {badge.label}{',' if number < len(BADGES) else '.'}"
    for number, badge in enumerate(BADGES.values(), 1)
)
HEAD = "| claim | verdict | effect − control [95 % interval] | reason |\n|---|---|---|---|"


def claims_markdown(records: list[Record], statements: dict[str, str]) -> str:
    """Return the ledger: all verdicts, a table per study, then the claims among `statements` that no record speaks of.

    The same records in any order give the same text.
    """
    ordered = sorted(records, key=lambda record: (record.study, record.started, _models(record)))
    parts = [
        INTRO,
        _overview(ordered),
        *(_study(name, list(group)) for name, group in groupby(ordered, key=lambda record: record.study)),
    ]
    tested = {verdict.claim for record in records for verdict in record.verdicts}
    open_claims = sorted((claim for claim in statements if claim not in tested), key=_in_order)
    if open_claims:
        badge = BADGES["not run"]
        rows = [f"| {_claim(claim, statements[claim])} | {badge.sign} {badge.label} |" for claim in open_claims]
        parts.append("\n".join(["## Not run", "", "| claim | verdict |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


def _overview(records: list[Record]) -> str:
    """Return one short line per verdict, which leads to its numbers."""
    lines = ["## All verdicts", "", SIGNS, "", "| claim | verdict |", "|---|---|"]
    for name, group in groupby(records, key=lambda record: record.study):
        found = sorted(
            (verdict for record in group for verdict in record.verdicts), key=lambda verdict: _in_order(verdict.claim)
        )
        lines += [
            f"| [{_text(verdict.claim)}](#{_text(name)}) {_text(verdict.statement)} | {badge.sign} {badge.label} |"
            for verdict in found
            for badge in [BADGES[verdict.verdict]]
        ]
    return "\n".join([*lines, ""])


def _study(name: str, records: list[Record]) -> str:
    sources = "; ".join(dict.fromkeys(record.source for record in records if record.source))
    found = [(verdict, record) for record in records for verdict in record.verdicts]
    found.sort(key=lambda pair: (_in_order(pair[0].claim), pair[1].started, _models(pair[1])))
    lines = [f"## {_text(name)}", "", *([f"Tests: {_text(sources)}", ""] if sources else [])]
    lines += [HEAD, *(_row(verdict) for verdict, _ in found)] if found else ["No verdict yet."]
    return "\n".join([*lines, ""])


def _row(verdict: Verdict) -> str:
    badge = BADGES[verdict.verdict]
    measured = "<br>".join(
        f"{_text(m.model)}, {_text(m.quantity)}: {interval(m)}, n = {m.n} {_text(m.unit)}"
        + (f" (control: {_text(m.control_name)})" if m.control_name else "")
        for m in verdict.measurements
    )
    claim = _claim(verdict.claim, verdict.statement)
    return f"| {claim} | {badge.sign} {badge.label} | {measured or '–'} | {_text(verdict.reason)} |"


def _claim(claim: str, statement: str) -> str:
    return f"**{_text(claim)}** {_text(statement)}".rstrip()


def _text(text: str) -> str:
    """Return `text` on one line, with what Markdown or HTML would take for its own escaped."""
    one_line = printable(" ".join(text.split()))
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", one_line).replace("&", "&amp;").replace("<", "&lt;")


def _models(record: Record) -> tuple[str, ...]:
    return tuple(model.get("name", "") for model in record.models)


def _in_order(claim: str) -> tuple[tuple[int, str], ...]:
    """Return a key that puts decode-2 before decode-10."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", claim))
