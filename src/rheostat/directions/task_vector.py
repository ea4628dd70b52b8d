"""Task vectors (Hendel et al. 2023, "In-context learning creates task vectors"): what demonstrations leave behind.

The residual stream is read at the last token of demonstrations and one more question, a dummy: a pair's question that
is neither shown nor asked later. Averaged over dummies it is the vector of one set of demonstrations. It is used by
putting it, at the same block, in the place of the last token's residual of a prompt without demonstrations:
`vector.put()`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.directions.direction import Direction
from rheostat.directions.directions import Directions
from rheostat.engine.stream import capture_batches
from rheostat.models.network import Network
from rheostat.sites.site import SiteLike, resolve
from rheostat.tasks.format import ARROW, PromptFormat, draw
from rheostat.tasks.pairs import Pair, PairTask

METHOD = "task vector"
K, N_DUMMIES, N_SETS = 5, 2, 10
"""Of the reference, but for the sets: it reads and tests one set at a time."""
SITES = "blocks.*.resid_post"
MOST_TRIES = 1000
"""Draws of one set before the pool counts as too small."""


@dataclass(frozen=True)
class Demonstrations:
    """One set of demonstrations and the questions that stand behind it while the network is read."""

    shown: tuple[Pair, ...]
    dummies: tuple[str, ...]

    def prompts(self, style: PromptFormat) -> list[str]:
        """Return the demonstrations once per dummy."""
        return [style.prompt(self.shown, dummy) for dummy in self.dummies]

    def shuffled(self, rng: np.random.Generator) -> "Demonstrations":
        """Return the same questions with answers that belong to other ones: the control.

        Every answer moves; where two pairs have equal answers it may come out the same all the same.
        """
        turn = int(rng.integers(1, len(self.shown))) if len(self.shown) > 1 else 0
        answers = [pair.answer for pair in self.shown]
        moved = answers[turn:] + answers[:turn]
        pairs = zip(self.shown, moved, strict=True)
        return Demonstrations(tuple(Pair(pair.question, answer) for pair, answer in pairs), self.dummies)


def draw_demonstrations(
    pool: Sequence[Pair], n_sets: int, *, k: int = K, n_dummies: int = N_DUMMIES, seed: int = 0
) -> tuple[Demonstrations, ...]:
    """Return sets of k demonstrations with dummies, all different pairs of a pool within a set.

    A set in which a dummy stands beside its own inverse (hot, cold and cold, hot) is drawn again: its answer would be
    shown.

    Raises:
        BadArgument: the pool holds fewer than k + n_dummies pairs, or hardly any others than inverses; or a number is
            below 1.
    """
    if min(n_sets, k, n_dummies) < 1:
        raise BadArgument(f"n_sets={n_sets}, k={k}, n_dummies={n_dummies}: at least 1 each.")
    if len(pool) < k + n_dummies:
        raise BadArgument(f"{len(pool)} pairs are too few for {k} demonstrations and {n_dummies} dummy queries.")
    rng = np.random.default_rng(seed)
    sets = []
    for _ in range(n_sets):
        tries = (draw(pool, k + n_dummies, rng) for _ in range(MOST_TRIES))
        drawn = next((one for one in tries if not _inverses(one[:k]) & _words(one[k:])), None)
        if drawn is None:
            raise BadArgument(
                f"the {len(pool)} pairs are too few for {k} demonstrations and {n_dummies} dummy queries: a pair and "
                "its inverse cannot stand on both sides. Give more pairs, or a smaller k."
            )
        sets.append(Demonstrations(tuple(drawn[:k]), tuple(pair.question for pair in drawn[k:])))
    return tuple(sets)


def _words(pairs: Sequence[Pair]) -> set[tuple[str, str]]:
    """Return questions with answers in their order: unlike `Pair.words`, which takes a → b and b → a for the same."""
    return {(pair.question.casefold(), pair.answer.casefold()) for pair in pairs}


def _inverses(pairs: Sequence[Pair]) -> set[tuple[str, str]]:
    return {(answer, question) for question, answer in _words(pairs)}


def task_states(
    network: Network,
    sets: Sequence[Demonstrations],
    *,
    style: PromptFormat = ARROW,
    sites: "SiteLike | Sequence[SiteLike]" = SITES,
    batch_size: int = 16,
) -> dict[str, Float[Tensor, "set d_model"]]:
    """Return, per site, each set's vector: the state at the last token, averaged over the set's dummies.

    All sites are read in one pass per prompt.

    Args:
        network: a language model.
        sets: as many dummies in each.
        style: how prompts are written.
        sites: of the width of the residual stream.
        batch_size: prompts per pass.

    Raises:
        SiteNotFound, SiteNotOffered
    """
    names = [str(site) for site in resolve(network, sites)]
    prompts = [prompt for one in sets for prompt in one.prompts(style)]
    held = list(capture_batches(network, prompts, names, positions="last", batch_size=batch_size))
    counts = [len(one.dummies) for one in sets]
    return {
        name: torch.stack([part.mean(0) for part in torch.cat([acts[name][:, 0] for acts in held]).split(counts)])
        for name in names
    }


def task_vectors(
    network: Network,
    task: "PairTask | Sequence[Pair]",
    *,
    k: int = K,
    n_sets: int = N_SETS,
    n_dummies: int = N_DUMMIES,
    style: PromptFormat = ARROW,
    sites: "SiteLike | Sequence[SiteLike]" = SITES,
    seed: int = 0,
) -> Directions:
    """Return a task's vector per site, averaged over sets of demonstrations.

    Args:
        network: a language model with a tokenizer.
        task: one of `pair_tasks()`, of which the demonstrations of `split(seed=seed)` are shown; or pairs, of which any
            may be shown.
        k: demonstrations in a set.
        n_sets: sets that are averaged; 1 as in the reference.
        n_dummies: dummy queries per set.
        style: how prompts are written; use the vector in prompts of the same format.
        sites: where to read.
        seed: of the split and the draws.

    Raises:
        BadArgument: the pairs are too few.
        SiteNotFound, SiteNotOffered, NeedsTokenizer
    """
    name, pool = (task.name, task.split(seed=seed).shown) if isinstance(task, PairTask) else ("task", tuple(task))
    sets = draw_demonstrations(pool, n_sets, k=k, n_dummies=n_dummies, seed=seed)
    states = task_states(network, sets, style=style, sites=sites)
    return as_directions(network, name, {site: one.mean(0) for site, one in states.items()})


def as_directions(network: Network, concept: str, vectors: Mapping[str, Float[Tensor, " d_model"]]) -> Directions:
    """Return task vectors as directions of a network."""
    weights = network.weight_hash
    return Directions(
        {site: Direction(concept, site, vector, METHOD, network.name, weights) for site, vector in vectors.items()}
    )
