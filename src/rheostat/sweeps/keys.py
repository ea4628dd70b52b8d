"""Keys and labels under which a sweep keeps its results: all of the network and a cell that they depend on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property

from rheostat.base.errors import BadArgument
from rheostat.edit.plan import Plan
from rheostat.edit.source import FromPrompt
from rheostat.engine.cells import Cell
from rheostat.engine.foreign import refuse_foreign_hooks
from rheostat.models.network import Network
from rheostat.models.tokens import Row
from rheostat.sites.positions import Positions
from rheostat.store.key import Plain, result_key, versions_that_matter
from rheostat.store.store import Wanted


class Keys:
    """The keys of one network's results under some cells.

    Args:
        network: the loaded network.
        cells: the cells of the sweep.
        settings: what all results depend on beside network, plan, prompt and metric.

    Raises:
        BadArgument: a label is no finite number, or a hook of someone else's is on the network.
    """

    def __init__(self, network: Network, cells: Sequence[Cell], settings: Mapping[str, Plain] | None = None) -> None:
        refuse_foreign_hooks(network)
        self._network, self._identity = network, network.identity
        self._settings = {**dict(settings or {}), "attention": network.attention, "device": network.device.type}
        self._plans = [cell.plan.fingerprint() for cell in cells]
        self._read = [tokens_read(network, cell.plan) for cell in cells]
        self._substrings = [_substrings(cell.plan) for cell in cells]
        self._covered: dict[tuple[str | None, str], tuple[int, ...]] = {}
        self._labels = [{label: _plain(label, value) for label, value in cell.labels.items()} for cell in cells]

    def wanted(self, cell: int, prompt: Row, metric: str, place: Mapping[str, Plain], **settings: Plain) -> Wanted:
        """Return the key of one result, with the cell's labels beside those of its place.

        Args:
            cell: its number.
            prompt: its tokens.
            metric: what was measured there.
            place: numbers of the prompt, and whatever else tells results of a cell apart.
            settings: what this result depends on besides.
        """
        network = self._network
        key = result_key(
            weights=self._identity,
            plan=self._plans[cell],
            prompt=prompt.ids,
            metric=metric,
            dtype=str(network.dtype),
            versions=self._versions,
            settings={**self._settings, "sources": self._read[cell], **self._tokens(cell, prompt), **settings},
        )
        return Wanted(key, {"cell": cell, **place, **self._labels[cell]})

    def _tokens(self, cell: int, prompt: Row) -> dict[str, Plain]:
        """Return which tokens the substrings of a cell's plan are: texts of the same tokens may have them elsewhere."""
        found = []
        for text in self._substrings[cell]:
            if (prompt.text, text) not in self._covered:
                self._covered[prompt.text, text] = Positions.substring(text).in_prompt(prompt)
            found.append(self._covered[prompt.text, text])
        return {"tokens": str(found)} if found else {}

    @cached_property
    def _versions(self) -> dict[str, str]:
        return versions_that_matter()


def tokens_read(network: Network, plan: Plan) -> str:
    """Return the tokens of the prompts that a plan reads: the plan knows their texts, not how they are tokenized."""
    sources = [edit.source for edit in plan if isinstance(edit.source, FromPrompt)]
    return "; ".join(_tokens_of(network.row(source.prompt), Positions.parse(source.positions)) for source in sources)


def _tokens_of(row: Row, positions: Positions) -> str:
    return f"{row.ids}" + (f" at {positions.in_prompt(row)}" if positions.kind == "substring" else "")


def _substrings(plan: Plan) -> list[str]:
    """Return the substrings of a prompt that the settings of a plan's edits name, in order."""
    settings = (getattr(edit, one.name) for edit in plan for one in fields(edit))
    return [one.value for one in settings if isinstance(one, Positions) and one.kind == "substring"]


def _plain(label: str, value: object) -> Plain:
    if isinstance(value, float) and not math.isfinite(value):
        raise BadArgument(f"the label {label!r} is {value}, which a store cannot keep. Give a finite number, or None.")
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
