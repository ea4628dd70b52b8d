"""One self-contained HTML page: nothing is fetched, no script runs, light and dark, the numbers beside each picture."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from markupsafe import Markup

from rheostat.base.errors import InternalError
from rheostat.base.shapes import BlockDiagram, Figure, Grid, TokenStrip
from rheostat.lenses.reading import Reading
from rheostat.report.figures import DOTS_PER_INCH, csv, png
from rheostat.report.grid_html import fits_html, grid_html
from rheostat.report.strip_html import strip_html
from rheostat.report.templates import template
from rheostat.report.verdicts import BADGES, Badge
from rheostat.report.wording import cell, duration, interval, number
from rheostat.studies.record import Record, Section, Verdict

MOST_ROWS = 200
"""Rows of a table that are shown; all are in its CSV."""
LARGEST_CSV = 2_000_000
"""Bytes of numbers that are embedded per figure or table."""


@dataclass(frozen=True)
class _FigureView:
    """What the template needs to show one figure."""

    anchor: str
    file: str
    title: str
    note: str
    n_rows: int
    csv: str | None
    alt: str = ""
    light: str = ""
    dark: str = ""
    width: int = 0
    height: int = 0
    table: Markup | None = None


@dataclass(frozen=True)
class _TableView:
    """What the template needs to show one table."""

    anchor: str
    file: str
    title: str
    n_rows: int
    csv: str | None
    columns: tuple[tuple[str, bool], ...]
    """Name, and whether it holds numbers."""
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class _MeasurementView:
    model: str
    quantity: str
    effect: str
    control: str
    control_name: str
    difference: str
    n: str


@dataclass(frozen=True)
class _VerdictView:
    anchor: str
    claim: str
    statement: str
    reason: str
    badge: Badge
    rows: tuple[_MeasurementView, ...]


@dataclass(frozen=True)
class _SectionView:
    heading: str
    paragraphs: tuple[str, ...]
    figures: tuple[_FigureView, ...]
    tables: tuple[_TableView, ...]


def page(
    title: str,
    *,
    intro: str = "",
    sections: Sequence[Section] = (),
    figures: Mapping[str, Figure] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    facts: Mapping[str, object] | None = None,
    verdicts: Sequence[Verdict] = (),
) -> str:
    """Return a whole HTML page. Figures and tables that no section names follow at the end, so that none is lost.

    Args:
        title: the page's heading.
        intro: paragraphs separated by blank lines.
        sections: headings with text, each naming the figures and tables that stand below it.
        figures: by name.
        tables: by name; the name is also the table's heading.
        facts: how the page was made, in a part that opens on demand; `warnings` are counted in its heading.
        verdicts: one per claim, shown first.

    Raises:
        InternalError: a section names a figure or table that is not there.
    """
    figures, tables, facts = figures or {}, tables or {}, facts or {}
    named = [*sections, *_rest(sections, figures, tables)]
    warnings = _values(facts.get("warnings"))
    return template("page.html").render(
        title=title,
        intro=_paragraphs(intro),
        sections=[_section_view(section, figures, tables) for section in named],
        facts=[(name.replace("_", " "), values) for name, given in facts.items() if (values := _values(given))],
        n_warnings=len(warnings),
        verdicts=[_verdict_view(verdict) for verdict in verdicts],
    )


def record_page(record: Record) -> str:
    """Return the page of one execution of a study."""
    facts: dict[str, object] = {
        "study": record.study,
        "source": record.source,
        "warnings": record.warnings,
        "started": record.started,
        "duration": duration(record.seconds),
        "seed": record.seed,
        "models": [", ".join(f"{key} {value}" for key, value in model.items()) for model in record.models],
        "arguments": record.arguments,
        "versions": record.versions,
    }
    return page(
        record.title,
        intro=f"Tests: {record.source}" if record.source else "",
        sections=record.sections,
        figures=record.figures,
        tables=record.tables,
        facts=facts,
        verdicts=record.verdicts,
    )


def reading_page(reading: Reading, grids: Sequence[Grid]) -> str:
    """Return the page of a lens reading: its grids, and the likeliest tokens, entropy and KL as tables."""
    return page(
        f"What {reading.model} reads in “{reading.prompt}”",
        intro="The logit lens: final norm and unembedding, applied at four points of every block. Tokens are shown "
        "with ␣ for a space. Entropy and KL to the model's own output are in nats.",
        figures={grid.name if n < 2 else f"{grid.name}-{n}": grid for n, grid in enumerate(grids)},
        tables={
            "summary": reading.summary,
            "likeliest-tokens": reading.table.drop(columns="token").rename(columns={"shown": "token"}),
            "own-output": reading.final.drop(columns="token").rename(columns={"shown": "token"}),
        },
    )


def describe(figure: Figure) -> str:
    """Return what a picture shows in words, for those who cannot see it."""
    table = figure.table
    if isinstance(figure, BlockDiagram):
        readings = (
            f"block {row['block']} {row['point']}: {cell(row['token'])} {number(float(row['probability']), digits=2)}"
            for row in table.head(16).to_dict("records")
        )
        return f"{figure.title}. Block diagram. {'; '.join(readings)}."
    if isinstance(figure, Grid):
        shape = f"{table['y'].nunique()} × {table['x'].nunique()} cells"
        span = f"{figure.value_label} from {_span(table['value'])}"
        return f"{figure.title}. Grid of {shape}: {figure.y_label} by {figure.x_label}; {span}."
    if isinstance(figure, TokenStrip):
        span = f"{figure.value_label} from {_span(table['value'])}"
        return f"{figure.title}. Text of {len(table)} coloured tokens; {span}."
    y = "value" if "value" in table.columns else "y"
    series = ", ".join(cell(name) for name in table["series"].drop_duplicates())
    return f"{figure.title}. {figure.y_label} against {figure.x_label}, from {_span(table[y])}; series: {series}."


def _span(values: "pd.Series[float]") -> str:
    return f"{number(float(values.min()))} to {number(float(values.max()))}"


def _rest(
    sections: Sequence[Section], figures: Mapping[str, Figure], tables: Mapping[str, pd.DataFrame]
) -> list[Section]:
    """Return a section for what no other section names, if there is any."""
    shown_figures = {name for section in sections for name in section.figures}
    shown_tables = {name for section in sections for name in section.tables}
    left_figures = tuple(name for name in figures if name not in shown_figures)
    left_tables = tuple(name for name in tables if name not in shown_tables)
    if not left_figures and not left_tables:
        return []
    return [Section("Further results" if sections else "Results", "", left_figures, left_tables)]


def _section_view(section: Section, figures: Mapping[str, Figure], tables: Mapping[str, pd.DataFrame]) -> _SectionView:
    absent = [name for name in section.figures if name not in figures]
    absent += [name for name in section.tables if name not in tables]
    if absent:
        raise InternalError(f"the section {section.heading!r} names {absent}, no figure or table of this page")
    return _SectionView(
        section.heading,
        _paragraphs(section.text),
        tuple(_figure_view(name, figures[name]) for name in section.figures),
        tuple(_table_view(name, tables[name]) for name in section.tables),
    )


def _figure_view(name: str, figure: Figure) -> _FigureView:
    view = _FigureView(
        anchor=_anchor(name),
        file=_anchor(name),
        title=figure.title or name,
        note=figure.note,
        n_rows=len(figure.table),
        csv=_csv_link(csv(figure)),
    )
    if isinstance(figure, Grid) and fits_html(figure):
        return replace(view, table=grid_html(figure))
    if isinstance(figure, TokenStrip) and len(figure.table):
        return replace(view, table=strip_html(figure))
    bare = replace(figure, title="", note="")
    light, dark = png(bare, theme="light"), png(bare, theme="dark")
    width, height = (int.from_bytes(light[start : start + 4], "big") * 96 // DOTS_PER_INCH for start in (16, 20))
    return replace(
        view,
        alt=describe(figure),
        light=_data_uri("image/png", light),
        dark=_data_uri("image/png", dark),
        width=width,
        height=height,
    )


def _table_view(name: str, table: pd.DataFrame) -> _TableView:
    shown = table.head(MOST_ROWS)
    return _TableView(
        anchor=_anchor(name),
        file=_anchor(name),
        title=name.replace("_", " "),
        n_rows=len(table),
        csv=_csv_link(table.to_csv(index=False, lineterminator="\n")),
        columns=tuple((str(column), pd.api.types.is_numeric_dtype(table[column])) for column in table.columns),
        rows=tuple(tuple(cell(value) for value in row) for row in shown.itertuples(index=False, name=None)),
    )


def _verdict_view(verdict: Verdict) -> _VerdictView:
    rows = tuple(
        _MeasurementView(
            model=measurement.model,
            quantity=measurement.quantity,
            effect=number(measurement.effect),
            control=number(measurement.control),
            control_name=measurement.control_name,
            difference=interval(measurement),
            n=f"{measurement.n} {measurement.unit}",
        )
        for measurement in verdict.measurements
    )
    anchor = _anchor(verdict.claim)
    return _VerdictView(anchor, verdict.claim, verdict.statement, verdict.reason, BADGES[verdict.verdict], rows)


def _values(given: object) -> list[str]:
    """Return a fact's value as lines of text."""
    if given is None:
        return []
    if isinstance(given, Mapping):
        return [f"{key}: {cell(value)}" for key, value in given.items()]
    if isinstance(given, (list, tuple)):
        return [cell(value) for value in given]
    return [cell(given)]


def _paragraphs(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in re.split(r"\n\s*\n", text) if part.strip())


def _csv_link(text: str) -> str | None:
    content = text.encode("utf-8")
    return _data_uri("text/csv;charset=utf-8", content) if len(content) <= LARGEST_CSV else None


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _anchor(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)
