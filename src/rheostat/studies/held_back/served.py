"""`Served`: what a server would answer to a key, computed without one.

The dial, the draws and the order of things are the server's: noise at every MLP's output relative to its standard
deviation, the seed a keyed function of the key's id, the prompt's tokens and the draw, the likeliest token each time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from rheostat.data.neutral_prompts import NEUTRAL_PROMPTS
from rheostat.edit.plan import Plan
from rheostat.engine.generate import generate, stop_ids_of
from rheostat.impairment.dial import Dial
from rheostat.impairment.draws import Draws
from rheostat.impairment.scale import measure_scale
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt

SITE = "mlp_out"
MODES = ("gaussian", "magnitude")
MAX_TOKEN_ROWS = 1024
"""Rows × tokens of one batch."""


@dataclass(frozen=True)
class Request:
    """A prompt and what its noise depends on."""

    prompt: Prompt
    n_new: int
    """Tokens to write at most."""
    level: float
    """Impairment, 0 to 1."""
    draw: int = 0
    key: str = ""


@dataclass(frozen=True)
class Completion:
    """What a server answers."""

    text: str
    cut: bool
    """Whether it ended for its length."""
    ids: tuple[int, ...]
    """Without the token that ended it."""


@dataclass(frozen=True, eq=False)
class Served:
    """A network behind a dial."""

    network: Network
    dial: Dial
    draws: Draws

    def plan(self, asked: Request, ids: Sequence[int]) -> Plan:
        """Return what is done to the network for a request whose prompt has these tokens."""
        if asked.level == 0:
            return Plan()
        return self.dial.plan(asked.level, seed=self.draws.noise(asked.key, ids, asked.draw))

    def answers(self, requests: Sequence[Request]) -> list[Completion]:
        """Return the greedy completion of every request; each is as if it had been asked alone."""
        rows = [self.network.row(one.prompt).ids for one in requests]
        stops = stop_ids_of(self.network)
        found: dict[int, Completion] = {}
        for batch in batches([(one.n_new, len(row)) for one, row in zip(requests, rows, strict=True)]):
            plans = [self.plan(requests[number], rows[number]) for number in batch]
            most = max(requests[number].n_new for number in batch)
            prompts: list[Prompt] = [list(rows[number]) for number in batch]
            written = generate(self.network, prompts, plans=plans, max_new_tokens=most)
            for number, ids in zip(batch, written.ids, strict=True):
                found[number] = self._completion(ids[: requests[number].n_new], stops)
        return [found[number] for number in range(len(requests))]

    def _completion(self, ids: tuple[int, ...], stops: tuple[int, ...]) -> Completion:
        ended = bool(ids) and ids[-1] in stops
        kept = ids[:-1] if ended else ids
        return Completion(self.network.decode(kept) if kept else "", not ended, kept)


def serve(network: Network, mode: str, seed: int) -> Served:
    """Put a network behind the dial that a server has unless it is told otherwise, in one of `MODES`.

    Args:
        network: a causal language model.
        mode: of the damage.
        seed: stands for the server's secret.
    """
    assert mode in MODES
    scale = None if mode == "magnitude" else measure_scale(network, NEUTRAL_PROMPTS, f"blocks.*.{SITE}")
    return Served(network, Dial(mode, SITE, scale=scale), Draws(sha256(f"secret {seed}".encode()).digest()))


def batches(sizes: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Yield the numbers of rows that run together: of (new tokens, prompt tokens) that are about the same."""
    batch: list[int] = []
    for number in sorted(range(len(sizes)), key=lambda one: sizes[one]):
        longest = max(sum(sizes[one]) for one in (*batch, number))
        if batch and longest * (len(batch) + 1) > MAX_TOKEN_ROWS:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
