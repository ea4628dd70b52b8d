"""The ledger lists every claim once per record, in an order of its own."""

import itertools

from rheostat.report.claims import claims_markdown
from rheostat.studies.record import Measurement, Record, Verdict


def record(study: str, *verdicts: Verdict, model: str = "smol") -> Record:
    return Record(study, "t", "a post", {}, 0, ({"name": model},), {}, "2025-01-01T00:00:00Z", 1.0, verdicts=verdicts)


def verdict(claim: str, name="reproduced", reason: str = "r") -> Verdict:
    measured = (
        Measurement("smol", "share", 0.75, 0.25, 0.4, 0.6, 24, "prompts", "random vector"),
        Measurement("gemma", "share", 0.3, 0.2, -0.1, 0.3, 12, "prompts"),
    )
    return Verdict(claim, f"statement of {claim}", name, reason, measured)


RECORDS = [
    record("decoding", verdict("decode-10"), verdict("decode-2", "partly")),
    record("decoding", verdict("decode-2", "not"), model="gemma"),
    record("arithmetic", verdict("mnist-1", "contradicted")),
]


def test_the_order_of_the_records_does_not_matter():
    pages = {claims_markdown(list(order), {"z": "last", "a": "first"}) for order in itertools.permutations(RECORDS)}
    assert len(pages) == 1


def test_each_verdict_stands_with_every_models_difference_interval_n_and_reason():
    text = claims_markdown(RECORDS, {})
    row = next(line for line in text.splitlines() if "**mnist-1**" in line)
    for expected in (
        "✗ contradicted",
        "smol, share: +0.5 [+0.4, +0.6], n = 24 prompts (control: random vector)",
        "gemma, share: +0.1 [-0.1, +0.3], n = 12",
        "| r |",
    ):
        assert expected in row


def test_studies_and_claims_are_in_their_natural_order():
    text = claims_markdown(RECORDS, {})
    places = [text.index(part) for part in ("## arithmetic", "## decoding", "**decode-2**", "**decode-10**")]
    assert places == sorted(places)
    assert text.count("**decode-2**") == 2


def test_all_verdicts_come_first_and_lead_to_their_numbers():
    text = claims_markdown(RECORDS, {})
    overview = text[text.index("## All verdicts") : text.index("## arithmetic")]
    assert "| [mnist-1](#arithmetic) statement of mnist-1 | ✗ contradicted |" in overview
    assert [line.partition("](")[0] for line in overview.splitlines() if line.startswith("| [")] == [
        "| [mnist-1", "| [decode-2", "| [decode-2", "| [decode-10"
    ]  # fmt: skip


def test_claims_that_no_record_speaks_of_are_not_run():
    text = claims_markdown(RECORDS, {"decode-2": "tested", "decode-11": "open claim", "decode-3": "another"})
    open_part = text[text.index("## Not run") :]
    assert "**decode-11** open claim | · not run" in open_part
    assert "decode-2*" not in open_part
    assert open_part.index("decode-3") < open_part.index("decode-11")


def test_text_cannot_break_the_table():
    hostile = "a | b\nc <script> `x` *y* [z](javascript:0)"
    text = claims_markdown([record("s", verdict("c-1", reason=hostile))], {})
    row = next(line for line in text.splitlines() if "**c-1**" in line)
    assert row.replace("\\|", "").count("|") == 5
    assert "<script" not in text
    assert "\\[z\\](javascript:0)" in row
