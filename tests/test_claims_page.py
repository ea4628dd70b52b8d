"""`docs/claims.md` is what the committed records say, word for word."""

from pathlib import Path

from rheostat.report.claims import claims_markdown
from rheostat.report.folder import read_record
from rheostat.studies.run import all_claims, find_study

ROOT = Path(__file__).parents[1]
RECORDS = sorted(path.parent for path in (ROOT / "docs" / "records").glob("*/record.json"))


def test_the_page_of_claims_is_generated_from_the_records():
    records = [read_record(folder, tables=False) for folder in RECORDS]
    assert (ROOT / "docs" / "claims.md").read_text(encoding="utf-8") == claims_markdown(records, all_claims())


def test_every_record_is_of_a_full_run_on_the_built_in_models_or_on_networks_of_its_own():
    assert RECORDS
    for folder in RECORDS:
        record = read_record(folder, tables=False)
        assert record.arguments["quick"] is False
        assert {verdict.claim for verdict in record.verdicts} <= set(all_claims())
        if find_study(record.study).trains_its_own:
            assert len(record.models) == len({model["weights"] for model in record.models}) >= 5
        else:
            assert len(record.models) == 2
