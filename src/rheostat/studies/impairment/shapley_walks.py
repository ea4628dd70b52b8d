"""The games of one block's MLP: which block, and what leaves with its neurons along whole permutations.

A walk is measured on one prompt, from everybody to nobody, and kept. What plain sampling or a bandit would have seen of
it is replayed from there, so that many runs of each cost nothing more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rheostat.edit.arithmetic import Zero
from rheostat.engine.cells import Cell
from rheostat.engine.gradients import site_gradients
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.neurons.shapley.neuron_game import NeuronGame, neuron_players
from rheostat.neurons.shapley.recording import RecordedGame, record_walk
from rheostat.studies.impairment.topics import topic_tasks
from rheostat.studies.part import step_params
from rheostat.studies.study import Context
from rheostat.tasks.item import Item, Questions, ask

CHUNK = 256


@dataclass(frozen=True)
class Amounts:
    """How much is measured."""

    find: int
    """Prompts per topic to find neurons on."""
    measure: int
    """Prompts per topic, of other articles, to measure removal on."""
    pilot: int
    """Prompts on which every block goes without its MLP."""
    walks: int
    """Of single neurons."""
    piece: int
    """Walks of single neurons in a step."""
    group_size: int
    group_walks: int
    few_players: int
    """Players of the game that is enumerated."""
    singly: int
    """Prompts on which every neuron is removed by itself."""


FULL = Amounts(8, 12, 10, walks=70, piece=5, group_size=16, group_walks=400, few_players=12, singly=20)
QUICK = Amounts(1, 1, 2, walks=1, piece=1, group_size=192, group_walks=40, few_players=6, singly=1)


@dataclass(frozen=True)
class Prompts:
    """Items of all topics in the model's tokens, up to the first token of their keyword."""

    items: tuple[Item, ...]
    asked: Questions

    @property
    def groups(self) -> list[str]:
        """The article of each, by which intervals resample."""
        return [item.group or str(number) for number, item in enumerate(self.items)]

    def game(self, model: Model, block: int, size: int, seed: int) -> NeuronGame:
        """Return the game of a block's neurons, in groups of neighbours; a walk is measured on one prompt."""
        players, asked = neuron_players(model, block, size=size), self.asked
        return NeuronGame(model, players, asked.rows, asked.loss, where="read", per_walk=1, seed=seed)

    def read_at(self, number: int) -> list[int]:
        """Return the token from which an item's keyword is predicted."""
        return [len(self.asked.rows[number]) - 2]


def prompts_of(context: Context, model: Model, n_per_topic: int, *, find: bool) -> Prompts:
    """Return prompts of every topic, from the articles for finding neurons or from the others.

    Of a keyword of several tokens the first is asked for: unembedding is most of what a coalition costs.
    """
    tasks = topic_tasks(context, model, n_per_topic, part="find" if find else "measure")
    items = tuple(item for task in tasks for item in task.items)
    whole = ask(model, items)
    rows = (row[: len(row) - n + 1] for row, n in zip(whole.rows, whole.n_answer_tokens, strict=True))
    return Prompts(items, Questions(tuple(rows), (1,) * len(items)))


def losses_without(context: Context, model: Model, found: Prompts, n: int) -> pd.DataFrame:
    """Return the mean loss without each block's MLP, on some prompts spread over topics: {block, loss}; −1: whole."""
    chosen = [int(place) for place in np.linspace(0, len(found.items) - 1, n).round()]

    def compute() -> pd.DataFrame:
        asked = Questions(tuple(found.asked.rows[place] for place in chosen), (1,) * len(chosen))
        cells = [Cell((), {"block": -1})]
        cells += [Cell(Zero(f"blocks.{block}.mlp_out"), {"block": block}) for block in range(model.n_blocks)]
        table = model.sweep(asked.rows, cells, asked.loss, progress=False)
        return table.groupby("block")["loss"].mean().reset_index()

    params = _params(model, context, found, chosen=chosen)
    return context.step(f"shapley-blocks-{model.name}", params, compute)


def recorded(
    context: Context, model: Model, found: Prompts, game: NeuronGame, n_walks: int, piece: int, name: str
) -> RecordedGame:
    """Measure whole walks, piece by piece."""
    pieces = [range(first, min(first + piece, n_walks)) for first in range(0, n_walks, piece)]

    def compute(numbers: Sequence[int]) -> pd.DataFrame:
        values = [record_walk(game, walk, seed=context.seed, chunk=CHUNK) for walk in numbers]
        return pd.DataFrame({"walk": list(numbers), "values": values})

    tables = []
    for numbers in context.progress(pieces, f"{model.name}, walks of {name}"):
        params = _params(model, context, found, game=game.fingerprint, walks=list(numbers))
        tables.append(context.step(f"shapley-{name}-{numbers[0]}-{model.name}", params, partial(compute, numbers)))
    whole = pd.concat(tables, ignore_index=True)
    walks = {int(walk): np.asarray(values) for walk, values in zip(whole["walk"], whole["values"], strict=True)}
    return RecordedGame(game.n_players, context.seed, walks, game.fingerprint)


def every_coalition(context: Context, model: Model, found: Prompts, game: NeuronGame) -> Values:
    """Return the value of every coalition of a game of few players, by its number in binary."""

    def compute() -> pd.DataFrame:
        numbers = np.arange(2**game.n_players)
        present = (numbers[:, None] >> np.arange(game.n_players)) & 1 == 1
        parts = [game.values(present[first : first + CHUNK], 0) for first in range(0, len(numbers), CHUNK)]
        return pd.DataFrame({"value": np.concatenate(parts)})

    params = _params(model, context, found, game=game.fingerprint)
    return context.step(f"shapley-coalitions-{model.name}", params, compute)["value"].to_numpy()


def other_scores(context: Context, model: Model, found: Prompts, block: int, n_singly: int) -> Mapping[str, Values]:
    """Return method → score of every neuron: activation, its product with the gradient, removal one by one."""

    def compute() -> pd.DataFrame:
        sums: dict[str, Tensor] = {}
        for number, row in enumerate(found.asked.rows):
            for name, score in _local(model, found, number, block, list(row)).items():
                sums[name] = sums.get(name, torch.zeros(())) + score / len(found.items)
        return pd.DataFrame({name: score.numpy() for name, score in sums.items()})

    def one_by_one() -> pd.DataFrame:
        chosen = [int(place) for place in np.linspace(0, len(found.items) - 1, n_singly).round()]
        game = found.game(model, block, 1, context.seed)
        present = np.concatenate([np.ones((1, game.n_players), bool), ~np.eye(game.n_players, dtype=bool)])
        parts = [game.per_prompt(present[first : first + CHUNK], chosen) for first in range(0, len(present), CHUNK)]
        losses = np.concatenate(parts).mean(axis=1)
        return pd.DataFrame({"singly": losses[1:] - losses[0]})

    params = _params(model, context, found, block=block)
    local = context.step(f"shapley-local-{model.name}", params, compute)
    params = _params(model, context, found, block=block, singly=n_singly)
    singly = context.step(f"shapley-singly-{model.name}", params, one_by_one)
    return {str(name): table[name].to_numpy() for table in (local, singly) for name in table}


def _local(model: Model, found: Prompts, number: int, block: int, row: list[int]) -> dict[str, Tensor]:
    """Return what one run forward and back says of every neuron, at the tokens that predict an answer."""
    site, places = f"blocks.{block}.neurons", found.read_at(number)
    targets = torch.tensor([row[place + 1] for place in places])

    def loss(logits: Tensor) -> Tensor:
        return -logits.log_softmax(-1)[:, range(len(places)), targets].mean(-1)

    seen = site_gradients(model, row, site, loss, logits_at=places)
    activation, gradient = (held[site][0, places].double().cpu() for held in (seen.activations, seen.gradients))
    product = (activation * gradient).sum(0)
    return {"activation": activation.abs().mean(0), "attribution": product.abs(), "signed attribution": -product}


def _params(model: Model, context: Context, found: Prompts, **settings: object) -> dict[str, object]:
    return step_params(model, context, rows=[list(row) for row in found.asked.rows], **settings)
