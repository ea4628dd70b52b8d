"""Plain and steered texts side by side: a terminal table, and a page with the doses and the budget's curve."""

from rich.table import Table
from rich.text import Text

from rheostat.report.page import page
from rheostat.report.wording import number, printable
from rheostat.steering.budget import StrengthSearch
from rheostat.steering.steer import Steered
from rheostat.studies.record import Section

CONTROL = (
    "The control adds random directions of equal length in the same way: what it changes too is no effect of the "
    "direction."
)


def steered_table(found: Steered) -> Table:
    """Return one row per prompt: plain, steered and, where there is one, the control."""
    table = Table(show_lines=True, header_style="bold")
    frame = found.table()
    for name in frame.columns:
        table.add_column(name, ratio=1, overflow="fold")
    for row in frame.itertuples(index=False, name=None):
        table.add_row(*(Text(printable(str(value))) for value in row))
    return table


def dose_lines(found: Steered) -> str:
    """Return what each text's edits did: the receipts, and the relative dose of each."""
    lines = [f"steered: ‖Δ‖/‖h‖ = {number(found.relative_dose)}; {found.receipt}"]
    if found.control_receipt is not None and found.control_dose is not None:
        lines.append(f"control: ‖Δ‖/‖h‖ = {number(found.control_dose)}; {found.control_receipt}")
    return "\n".join(lines)


def steered_page(found: Steered, search: StrengthSearch | None = None, *, by: str = "") -> str:
    """Return the page of a steered run: texts side by side, the doses, and how the strength was chosen.

    Args:
        found: the texts.
        search: for the strength, if there was one.
        by: what steers, in words.
    """
    dose = f"Mean relative dose ‖Δ‖/‖h‖ of the steered texts: {number(found.relative_dose)}"
    if found.control_dose is not None:
        dose += f"; of the control: {number(found.control_dose)}"
    sections = [
        Section("Texts", CONTROL if found.control is not None else "", tables=("texts",)),
        Section("Dose", f"{dose}.", tables=("receipt",)),
    ]
    tables, figures = {"texts": found.table(), "receipt": found.doses()}, {}
    if search is not None:
        sections.append(Section("Budget", f"{search}.", figures=("budget",), tables=("strengths",)))
        figures["budget"], tables["strengths"] = search.profile(), search.curve
    return page(
        f"{found.model}, plain and steered",
        intro="\n\n".join([*([f"Steered by {by}."] if by else []), *map(str, found.plan)]),
        sections=sections,
        figures=figures,
        tables=tables,
    )
