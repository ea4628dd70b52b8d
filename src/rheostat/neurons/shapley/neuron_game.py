"""`NeuronGame`: MLP neurons, or groups of them, are the players; a coalition is worth what a network does with it.

The network runs once over a prompt; of every coalition only what lies behind the players' block is computed, many
coalitions in one pass. Removed neurons are set to zero, or to their mean. (The paper's code removes a convolution
filter by zeroing its weights and resetting the batch norm behind it, which leaves a constant: neither of the two.)
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.base.names import did_you_mean
from rheostat.edit.arithmetic import Zero
from rheostat.edit.edit import Edit
from rheostat.edit.patching import Replace
from rheostat.engine.batch import as_prompts
from rheostat.engine.cells import Cell
from rheostat.engine.prefix import CleanRun, share_runs
from rheostat.engine.stream import capture_batches
from rheostat.engine.sweep import MAX_TOKEN_ROWS, sweep_rows
from rheostat.metrics.metric import Metric
from rheostat.metrics.statistics import Values
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.neurons.ranking import Ranking
from rheostat.store.key import digest

Removal = Literal["zero", "mean"]
Where = Literal["all", "read"]
KIND = "neurons"
KEPT_RUNS = 64
"""Shared runs that stay in memory; those of prompts longer ago are made again."""


@dataclass(frozen=True)
class NeuronPlayer:
    """Neurons of one block that take part, or leave, together."""

    block: int
    units: tuple[int, ...]


def neuron_players(
    network: Network, block: int, *, size: int = 1, order: Sequence[int] | None = None
) -> tuple[NeuronPlayer, ...]:
    """Return all neurons of a block as players: singly, or in groups of neighbours.

    Args:
        network: a language model.
        block: counted from 0; negative from the last.
        size: neurons of a player; the last group may be smaller.
        order: the neurons, in the order in which they are grouped; None: as the network has them.

    Raises:
        BadArgument: no such block, a size below 1, or an order that does not hold every neuron once.
    """
    n_units = network.body.shape(KIND)[0]
    units = list(range(n_units)) if order is None else list(order)
    if not -network.n_blocks <= block < network.n_blocks or size < 1 or sorted(units) != list(range(n_units)):
        raise BadArgument(
            f"players of block {block} in groups of {size}: {network.name} has blocks 0 to {network.n_blocks - 1} with "
            f"{n_units} neurons each; size at least 1, and an order holds each once."
        )
    number = block % network.n_blocks
    return tuple(NeuronPlayer(number, tuple(sorted(units[first : first + size]))) for first in range(0, n_units, size))


class NeuronGame:
    """What prompts lose when neurons do: a coalition is worth the mean of a metric over prompts, without the others.

    Args:
        network: a language model.
        players: which neurons belong together; those of no player always take part.
        prompts: texts or token ids; a walk takes the next ones of endless shuffled rounds through them.
        metric: what is measured of each, such as the loss of its answer.
        lower_is_better: whether a coalition is worth minus the metric, as of a loss.
        removal: `zero`, or `mean`: each neuron's mean over the prompts, at the tokens where it is removed.
        where: `all` tokens, or only those whose logits the metric reads. In the last block it is the same, and `read`
            is what is computed.
        per_walk: prompts of one walk; None: all of them, every time.
        seed: of the rounds.
        max_token_rows: rows × tokens that one pass may hold; memory grows with it.

    Raises:
        BadArgument: no player, a neuron in two of them, no such block or neuron, or an unknown setting.
        NotOneToken, PositionNotFound: the metric does not fit a prompt.
    """

    def __init__(
        self,
        network: Network,
        players: Sequence[NeuronPlayer],
        prompts: "Prompt | Sequence[Prompt]",
        metric: Metric,
        *,
        lower_is_better: bool = True,
        removal: str = "zero",
        where: str = "all",
        per_walk: int | None = None,
        seed: int = 0,
        max_token_rows: int = MAX_TOKEN_ROWS,
    ) -> None:
        self.network, self.players = network, tuple(players)
        self._rows = [network.row(prompt) for prompt in as_prompts(prompts)]
        self._bound = metric.bind(network, self._rows)
        self._sign = -1.0 if lower_is_better else 1.0
        self._removal, self._where = removal, where
        self._per_walk = len(self._rows) if per_walk is None else per_walk
        self._seed, self._max_token_rows = seed, max_token_rows
        self._kept: OrderedDict[int, CleanRun] = OrderedDict()
        _check(network, self.players, removal, where, self._per_walk, len(self._rows))
        self._blocks = sorted({player.block for player in self.players})
        if self._blocks == [network.n_blocks - 1]:
            self._where = "read"

    @property
    def n_players(self) -> int:
        """How many there are."""
        return len(self.players)

    @cached_property
    def fingerprint(self) -> str:
        """Equal for equal games, on equal weights."""
        return digest(
            {
                "weights": self.network.weight_hash,
                "players": [[player.block, list(player.units)] for player in self.players],
                "prompts": [list(row.ids) for row in self._rows],
                "metric": [bound.identifier for bound in self._bound],
                "settings": [self._sign, self._removal, self._where, self._per_walk, self._seed],
            }
        )

    def prompts_of(self, walk: int) -> list[int]:
        """Return the numbers of a walk's prompts."""
        n = len(self._rows)
        if self._per_walk == n:
            return list(range(n))
        places = [divmod(place, n) for place in range(walk * self._per_walk, (walk + 1) * self._per_walk)]
        rounds = {number: np.random.default_rng([self._seed, number]).permutation(n) for number, _ in places}
        return [int(rounds[number][place]) for number, place in places]

    def values(self, present: Bool[np.ndarray, "coalition player"], walk: int) -> Float[np.ndarray, " coalition"]:
        """Return the mean over the walk's prompts of each coalition's metric, or minus it."""
        return np.asarray(self._sign * self.per_prompt(present, self.prompts_of(walk)).mean(axis=1))

    def per_prompt(
        self, present: Bool[np.ndarray, "coalition player"], prompts: Sequence[int]
    ) -> Float[np.ndarray, "coalition prompt"]:
        """Return the metric itself, of each coalition on each of some prompts."""
        found = np.empty((len(present), len(prompts)))
        removed = [self._removed(row) for row in present]
        for column, prompt in enumerate(prompts):
            found[:, column] = self._on_prompt(removed, prompt)
        return found

    def ranking(self, values: Values, *, method: str = "shapley", topic: str = "") -> Ranking:
        """Return players' values as a ranking of neurons; a group's is shared out among its neurons.

        Neurons of no player come last; so do those of players that were never measured.
        """
        n_units = self.network.body.shape(KIND)[0]
        scores = {block: torch.full((n_units,), float("-inf"), dtype=torch.float64) for block in self._blocks}
        for player, value in zip(self.players, np.nan_to_num(values, nan=-np.inf), strict=True):
            scores[player.block][list(player.units)] = float(value) / len(player.units)
        name, weights = self.network.name, self.network.weight_hash
        return Ranking(KIND, scores, method=method, topic=topic, model=name, weights=weights)

    @cached_property
    def _owners(self) -> dict[int, Int[np.ndarray, " unit"]]:
        """Return block → the player of each of its units; those of none have the number behind the last."""
        n_units = self.network.body.shape(KIND)[0]
        owners = {block: np.full(n_units, self.n_players) for block in self._blocks}
        for number, player in enumerate(self.players):
            owners[player.block][list(player.units)] = number
        return owners

    def _removed(self, present: Bool[np.ndarray, " player"]) -> dict[int, tuple[int, ...]]:
        """Return block → the units that are gone."""
        gone = {block: np.flatnonzero(~np.append(present, True)[owner]) for block, owner in self._owners.items()}
        return {block: tuple(units.tolist()) for block, units in gone.items() if len(units)}

    def _on_prompt(self, removed: Sequence[dict[int, tuple[int, ...]]], prompt: int) -> Values:
        bound = self._bound[prompt]
        edit = self._edit(prompt)
        cells = [Cell([edit(block, units) for block, units in one.items()]) for one in removed]
        run = self._run(prompt)
        values = np.empty(len(cells))
        chunks = sweep_rows(
            self.network,
            [self._rows[prompt]],
            cells,
            [bound.positions],
            max_token_rows=self._max_token_rows,
            shared=[run],
        )
        for chunk in chunks:
            values[list(chunk.cells)] = bound(chunk.logits, run.logits).double().cpu().numpy()
        return values

    def _edit(self, prompt: int) -> Callable[[int, tuple[int, ...]], Edit]:
        """Return what makes the edit that removes units of a block from a prompt."""
        positions = "all" if self._where == "all" else list(self._bound[prompt].positions)

        def edit(block: int, units: tuple[int, ...]) -> Edit:
            site = _site(block)
            if self._removal == "zero":
                return Zero(site, positions=positions, units=units)
            return Replace(site, self._means[block], positions=positions, units=units)

        return edit

    @cached_property
    def _means(self) -> dict[int, Tensor]:
        """Return block → mean activation of each neuron over the prompts, where neurons are removed."""
        rows, sites = [list(row.ids) for row in self._rows], [_site(block) for block in self._blocks]
        sums = {block: torch.zeros(self.network.body.shape(KIND), dtype=torch.float64) for block in self._blocks}
        n_tokens = 0
        for first, held in enumerate(capture_batches(self.network, rows, sites, batch_size=1)):
            tokens = slice(None) if self._where == "all" else list(self._bound[first].positions)
            n_tokens += len(held[sites[0]][0, tokens])
            for block, site in zip(self._blocks, sites, strict=True):
                sums[block] += held[site][0, tokens].detach().cpu().double().sum(0)
        return {block: (total / n_tokens).to(self.network.dtype) for block, total in sums.items()}

    def _run(self, prompt: int) -> CleanRun:
        """Return a prompt's shared run."""
        if prompt not in self._kept:
            ids, asked = list(self._rows[prompt].ids), list(self._bound[prompt].positions)
            sites = [_site(block) for block in self._blocks]
            (self._kept[prompt],) = share_runs(self.network, ids, sites, logits_at=asked)
            if len(self._kept) > KEPT_RUNS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(prompt)
        return self._kept[prompt]


def _site(block: int) -> str:
    return f"blocks.{block}.{KIND}"


def _check(
    network: Network, players: Sequence[NeuronPlayer], removal: str, where: str, per_walk: int, n_prompts: int
) -> None:
    for setting, given, known in (("removal", removal, Removal), ("where", where, Where)):
        names = get_args(known)
        if given not in names:
            raise BadArgument(f"no {setting} {given!r}.{did_you_mean(given, names)} One of: {', '.join(names)}.")
    if not 1 <= per_walk <= n_prompts:
        raise BadArgument(f"per_walk={per_walk}: from 1 to {n_prompts}, the number of prompts.")
    neurons = [(player.block, unit) for player in players for unit in player.units]
    n_units = network.body.shape(KIND)[0]
    if not players or not all(player.units for player in players):
        raise BadArgument("a game needs players, each with a neuron: neuron_players(network, block).")
    if len(set(neurons)) < len(neurons):
        raise BadArgument("a neuron belongs to two players, or twice to one.")
    if not all(0 <= block < network.n_blocks and 0 <= unit < n_units for block, unit in neurons):
        raise BadArgument(
            f"a player lies outside {network.name}: blocks 0 to {network.n_blocks - 1}, neurons 0 to {n_units - 1}."
        )
