"""A record as a folder of plain files, and back: JSON, Parquet, PNG, CSV and one HTML page."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow
from pydantic import TypeAdapter, ValidationError

from rheostat.base.errors import FileNotUsable, InternalError
from rheostat.base.files import atomic_file, output_folder, output_path
from rheostat.base.shapes import BlockDiagram, Figure, Grid, Profile, Scatter, TokenStrip
from rheostat.report.figures import write_csv, write_png
from rheostat.report.page import record_page
from rheostat.studies.record import Record, Section, Verdict

FORMAT = 1
SHAPES: dict[str, type[Figure]] = {
    "profile": Profile,
    "grid": Grid,
    "scatter": Scatter,
    "diagram": BlockDiagram,
    "tokens": TokenStrip,
}
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class _SavedFigure:
    """The fields of all shapes together, without the table; a figure uses those of its kind."""

    kind: Literal["profile", "grid", "scatter", "diagram", "tokens"]
    name: str
    title: str
    note: str = ""
    x_label: str = ""
    y_label: str = ""
    value_label: str = ""
    reference: dict[str, float] = field(default_factory=dict)
    centre: float | None = None
    limits: tuple[float, float] | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class _Saved:
    """What `record.json` holds: a record without its tables."""

    format: int
    study: str
    title: str
    source: str
    arguments: dict[str, object]
    seed: int
    models: tuple[dict[str, str], ...]
    versions: dict[str, str]
    started: str
    seconds: float
    warnings: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    sections: tuple[Section, ...]
    tables: tuple[str, ...]
    figures: dict[str, _SavedFigure]


def record_folder(folder: Path, *, overwrite: bool, replaces: str = "") -> Path:
    """Check that a record can be written into `folder`, before it is computed. What an interrupted run left may stay.

    Args:
        folder: it need not exist.
        overwrite: whether a record, or other files of these names, may be replaced.
        replaces: a study whose earlier record may be replaced in any case.

    Raises:
        WouldOverwrite: `folder` holds what a record would replace.
        FileNotUsable: it is a file, or cannot be created or written.
    """
    output_folder(folder, overwrite=True)
    goes_on = (folder / "steps").is_dir() and not (folder / "record.json").exists()
    allowed = overwrite or goes_on or (replaces != "" and _holds_record_of(replaces, folder))
    for name in ("record.json", "index.html"):
        output_path(folder / name, overwrite=allowed)
    for name in ("tables", "figures"):
        output_folder(folder / name, overwrite=allowed)
    return folder


def write_record(record: Record, folder: Path, *, overwrite: bool = False) -> None:
    """Write `record` into `folder`, each file whole or not at all; `record.json` comes last.

    ```
    record.json   index.html   tables/NAME.parquet   figures/NAME.png, NAME.csv, NAME.parquet
    ```
    A sequence among the arguments comes back as a list when the record is read.

    Raises:
        WouldOverwrite, FileNotUsable: as `record_folder` says.
        InternalError: a name is no file name, or the arguments or a table hold what the files cannot.
    """
    record_folder(folder, overwrite=overwrite)
    for name in (*record.tables, *record.figures):
        if not FILE_NAME.fullmatch(name):
            raise InternalError(f"{name!r} is no name for a table or figure: letters, digits, '.', '_' and '-' only")
    content = json.dumps(_plain(_saved(record)), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    for name, table in record.tables.items():
        _write_parquet(table, folder / "tables" / f"{name}.parquet")
    for name, figure in record.figures.items():
        _write_parquet(figure.table, folder / "figures" / f"{name}.parquet")
        write_csv(figure, folder / "figures" / f"{name}.csv")
        write_png(figure, folder / "figures" / f"{name}.png")
    _write_text(record_page(record), folder / "index.html")
    _write_text(content, folder / "record.json")


def read_record(folder: Path, *, tables: bool = True) -> Record:
    """Return the record that `write_record` left in `folder`.

    Args:
        folder: of the record.
        tables: read the tables and figures too; without them `record.json` is enough.

    Raises:
        FileNotUsable: a file is missing, damaged, or not what rheostat writes.
    """
    path = folder / "record.json"
    saved = _read_saved(path)
    for name in (*saved.tables, *saved.figures):
        if not FILE_NAME.fullmatch(name):
            raise FileNotUsable(f"{path} names the table or figure {name!r}, which is no file name.")
    return Record(
        study=saved.study,
        title=saved.title,
        source=saved.source,
        arguments=saved.arguments,
        seed=saved.seed,
        models=saved.models,
        versions=saved.versions,
        started=saved.started,
        seconds=saved.seconds,
        warnings=saved.warnings,
        verdicts=saved.verdicts,
        sections=saved.sections,
        tables={name: _read_parquet(folder / "tables" / f"{name}.parquet") for name in saved.tables if tables},
        figures={name: _read_figure(name, shape, folder) for name, shape in saved.figures.items() if tables},
    )


def _saved(record: Record) -> dict[str, object]:
    shown = {part.name: getattr(record, part.name) for part in fields(Record)}
    shapes = {
        name: {part.name: getattr(figure, part.name) for part in fields(figure) if part.name != "table"}
        for name, figure in record.figures.items()
    }
    return {
        "format": FORMAT,
        **shown,
        "verdicts": [asdict(verdict) for verdict in record.verdicts],
        "sections": [asdict(section) for section in record.sections],
        "tables": list(record.tables),
        "figures": shapes,
    }


def _holds_record_of(study: str, folder: Path) -> bool:
    try:
        return _read_saved(folder / "record.json").study == study
    except FileNotUsable:
        return False


def _read_saved(path: Path) -> _Saved:
    try:
        data = json.loads(path.read_text(encoding="utf-8"), object_hook=_revived)
        saved = TypeAdapter(_Saved).validate_python(data)
    except OSError as error:
        raise FileNotUsable(f"{path} cannot be read ({error.strerror or error}). Is {path.parent} a record?") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise FileNotUsable(f"{path} is no record that rheostat wrote ({place}: {first['msg']}).") from error
    except ValueError as error:
        raise FileNotUsable(f"{path} is damaged ({error}).") from error
    if saved.format != FORMAT:
        raise FileNotUsable(f"{path} has format {saved.format}; this version of rheostat reads format {FORMAT}.")
    return saved


def _read_figure(name: str, saved: _SavedFigure, folder: Path) -> Figure:
    shape = SHAPES[saved.kind]
    path = folder / "figures" / f"{name}.parquet"
    table = _read_parquet(path)
    given = {part.name: getattr(saved, part.name) for part in fields(shape) if part.name not in ("table", "kind")}
    return shape(table=table, **given)


def _plain(value: object) -> object:
    """Return `value` as JSON holds it; floats that JSON has no sign for become `{"$float": "nan"}`."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    raise InternalError(f"a record cannot hold {value!r}, only numbers, texts, paths, and lists or dicts of these")


def _revived(data: dict[str, object]) -> object:
    marked = data.get("$float")
    return float(marked) if len(data) == 1 and isinstance(marked, str) else data


def _write_text(text: str, path: Path) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    with atomic_file(path) as temporary:
        try:
            table.to_parquet(temporary, engine="pyarrow")
        except (pyarrow.ArrowException, TypeError, ValueError) as error:
            raise InternalError(f"the table for {path} cannot be saved ({error}); a column has one type") from error


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, engine="pyarrow")
    except OSError as error:
        raise FileNotUsable(f"{path} cannot be read ({error.strerror or error}).") from error
    except (pyarrow.ArrowException, ValueError) as error:
        raise FileNotUsable(f"{path} is damaged ({error}).") from error
