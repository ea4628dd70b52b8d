"""Keys and labels under which a sweep keeps its results: all of the network and a cell that they depend on."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from rheostat.edit.plan import Plan
from rheostat.edit.source import FromPrompt
from rheostat.engine.cells import Cell
from rheostat.models.network import Network
from rheostat.store.key import Plain, result_key, versions_that_matter
from rheostat.store.store import Wanted


class Keys:
    """The keys of one network's results under some cells.

    Args:
        network: the loaded network.
        cells: the cells of the sweep.
        settings: what all results depend on beside network, plan, prompt and metric.
    """

    def __init__(self, network: Network, cells: Sequence[Cell], settings: Mapping[str, Plain] | None = None) -> None:
        self._network = network
        self._settings = {**dict(settings or {}), "attention": network.attention, "device": network.device.type}
        self._plans = [cell.plan.fingerprint() for cell in cells]
        self._read = [tokens_read(network, cell.plan) for cell in cells]
        self._labels = [{label: _plain(value) for label, value in cell.labels.items()} for cell in cells]

    def wanted(
        self, cell: int, prompt: Sequence[int], metric: str, place: Mapping[str, Plain], **settings: Plain
    ) -> Wanted:
        """Return the key of one result, with the cell's labels beside those of its place.

        Args:
            cell: its number.
            prompt: token ids.
            metric: what was measured there.
            place: numbers of the prompt, and whatever else tells results of a cell apart.
            settings: what this result depends on besides.
        """
        network = self._network
        key = result_key(
            weights=network.weight_hash,
            plan=self._plans[cell],
            prompt=prompt,
            metric=metric,
            dtype=str(network.dtype),
            versions=self._versions,
            settings={**self._settings, "sources": self._read[cell], **settings},
        )
        return Wanted(key, {"cell": cell, **place, **self._labels[cell]})

    @cached_property
    def _versions(self) -> dict[str, str]:
        return versions_that_matter()


def tokens_read(network: Network, plan: Plan) -> str:
    """Return the tokens of the prompts that a plan reads: the plan knows their texts, not how they are tokenized."""
    prompts = [edit.source.prompt for edit in plan if isinstance(edit.source, FromPrompt)]
    return "; ".join(str(network.row(prompt).ids) for prompt in prompts)


def _plain(value: object) -> Plain:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
