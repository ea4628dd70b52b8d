"""`run_study`: execute a study and return its record."""

import importlib
import importlib.metadata
import platform
import time
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rheostat.base.errors import BadArgument, StudyNotFound
from rheostat.base.names import did_you_mean
from rheostat.model import Model, load
from rheostat.models.zoo import BUILT_INS, DEFAULT_MODEL
from rheostat.studies.catalogue import STUDIES, StudyCard
from rheostat.studies.record import Record
from rheostat.studies.study import Context, Study

_PACKAGES = ("rheostat", "torch", "transformers", "numpy", "pandas", "scipy")


def find_study(name: str) -> Study:
    """Return a study by name.

    Raises:
        StudyNotFound
    """
    return _load(card_of(name))


def card_of(name: str) -> StudyCard:
    """Return a study's card by name.

    Raises:
        StudyNotFound
    """
    if name not in STUDIES:
        raise StudyNotFound(f"no study {name!r}.{did_you_mean(name, STUDIES)} All: {', '.join(STUDIES)}.")
    return STUDIES[name]


def run_study(
    name: str,
    *,
    folder: str | Path,
    models: Sequence[str | Model] | None = None,
    quick: bool = False,
    seed: int = 0,
    show_progress: bool = True,
) -> Record:
    """Execute a study; `rheostat.write_record` writes what it returns.

    Args:
        name: one of `rheostat studies`.
        folder: where its steps are kept; an interrupted run in the same folder goes on where it stopped.
        models: names or loaded models; None: both built-in ones, with `quick` only the default; a study that trains its
            own networks takes none.
        quick: fewer prompts, about a minute; its verdicts are marked as quick.
        seed: of everything that is drawn.
        show_progress: bars on stderr.

    Raises:
        StudyNotFound
        BadArgument: models were given to a study that trains its own.
    """
    study = find_study(name)
    chosen = _chosen(study, models, quick=quick)
    started, clock = datetime.now(UTC), time.monotonic()
    loaded = tuple(load(one, dtype="float32") if isinstance(one, str) else one for one in chosen)
    context = Context(loaded, quick, seed, Path(folder), show_progress)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = study.run(context)
    return Record(
        study=study.name,
        title=study.title,
        source=study.source,
        arguments={
            "models": [model.name for model in loaded],
            "quick": quick,
            "seed": seed,
            "reused_steps": len(context.reused),
        },
        seed=seed,
        models=(*(model.describe() for model in loaded), *found.trained),
        versions=versions(),
        started=started.isoformat(timespec="seconds"),
        seconds=time.monotonic() - clock,
        warnings=(*found.warnings, *dict.fromkeys(str(one.message) for one in caught)),
        verdicts=found.verdicts,
        sections=found.sections,
        tables=dict(found.tables),
        figures={figure.name: figure for figure in found.figures},
    )


def _chosen(study: Study, models: Sequence[str | Model] | None, *, quick: bool) -> Sequence[str | Model]:
    if study.trains_its_own:
        if models:
            raise BadArgument(f"{study.name} trains the networks that it studies and takes no model. Leave it out.")
        return ()
    return models or ([DEFAULT_MODEL] if quick else list(BUILT_INS))


def all_claims() -> dict[str, str]:
    """Return every claim that a shipped study names: identifier → statement."""
    return {claim: text for name in STUDIES for claim, text in find_study(name).claims.items()}


def versions() -> dict[str, str]:
    """Return the versions that a record states."""
    found: Mapping[str, str] = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), "platform": platform.platform(terse=True), **found}


def _load(card: StudyCard) -> Study:
    module, _, attribute = card.home.partition(":")
    study: Study = getattr(importlib.import_module(module), attribute)
    return study
