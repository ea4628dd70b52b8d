"""`Study`, `Context` and `Findings`: the small framework that every shipped experiment stands on."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pandas as pd
from rich.progress import track

from rheostat.base.errors import FileNotUsable
from rheostat.base.files import atomic_file
from rheostat.base.shapes import Figure
from rheostat.model import Model
from rheostat.studies.record import Section, Verdict

Item = TypeVar("Item")


@dataclass(frozen=True)
class Findings:
    """What a study found, before the framework adds versions, models and times."""

    verdicts: tuple[Verdict, ...]
    sections: tuple[Section, ...]
    tables: Mapping[str, pd.DataFrame]
    figures: tuple[Figure, ...]
    warnings: tuple[str, ...] = ()
    trained: tuple[dict[str, str], ...] = ()
    """Networks that the study trained itself, as a record states models."""


@dataclass
class Context:
    """What a study may use: models, a seed, and steps whose tables survive an interruption."""

    models: tuple[Model, ...]
    quick: bool
    seed: int
    folder: Path
    """The run's folder; steps are kept in `steps/`."""
    show_progress: bool = True
    reused: list[str] = field(default_factory=list)
    """Names of the steps that were read from disk instead of computed."""

    def step(self, name: str, params: Mapping[str, object], compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Return the table of a step, from disk when an earlier run with equal parameters finished it.

        A step appears on disk whole or not at all, so a study killed at any moment resumes after its last step.

        Args:
            name: letters, digits and dashes.
            params: everything the table depends on (JSON values): model hash, prompts, seed, quick.
            compute: makes the table.
        """
        path = self.folder / "steps" / f"{name}-{_key(params)}.parquet"
        if path.is_file():
            try:
                table = pd.read_parquet(path)
            except (OSError, ValueError) as error:
                raise FileNotUsable(f"the step {path} is damaged ({error}). Delete it and run again.") from error
            self.reused.append(name)
            return table
        table = compute()
        with atomic_file(path) as target:
            table.to_parquet(target)
        return pd.read_parquet(path)

    def progress(self, items: Iterable[Item], label: str) -> Iterator[Item]:
        """Iterate with a progress bar on stderr."""
        listed = list(items)
        if not self.show_progress:
            return iter(listed)
        from rich.console import Console

        return iter(track(listed, label, console=Console(stderr=True), transient=True))


@dataclass(frozen=True)
class Study:
    """A named experiment."""

    name: str
    title: str
    source: str
    """The paper or post whose claims it tests."""
    claims: Mapping[str, str]
    """Claim identifier → statement."""
    run: Callable[[Context], Findings]
    trains_its_own: bool = False
    """Whether it trains the networks that it studies, so that no model is loaded for it and none can be given."""


def _key(params: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(params, sort_keys=True, default=str).encode()).hexdigest()[:12]
