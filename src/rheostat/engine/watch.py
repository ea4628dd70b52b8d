"""`Watch`: look at the newest token of every row while `generate` writes, and end rows by what was seen.

A watcher sees only the newest token of rows that still write, never a pad and never a row that has ended, so what it
sees of a row does not depend on the rows beside it.
"""

from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.engine.binding import as_grid
from rheostat.engine.clock import Clock
from rheostat.engine.stream import blocks_run
from rheostat.engine.taps import attach
from rheostat.models.network import Network
from rheostat.sites.site import Site, SiteLike, resolve, tap


@dataclass(frozen=True)
class Seen:
    """The newest token of each row that still writes, at one site; after any edit there."""

    site: str
    rows: tuple[int, ...]
    """Numbers of the prompts."""
    written: tuple[int, ...]
    """Per row, how many tokens it has written: the newest is the last of them, or the prompt's last token at 0."""
    activation: Float[Tensor, "row *site"]


@dataclass(frozen=True)
class Watch:
    """Where to look while tokens are written, and who looks.

    A token is seen when the model reads it, so the last token of a text that was written to its end is not seen.
    """

    sites: "SiteLike | tuple[SiteLike, ...]"
    see: Callable[[Seen], Collection[int]]
    """Called once per step and site, in the order of computation; returns the rows to end at the token seen."""


class StopWriting(Exception):
    """Raised inside a forward pass once no row writes any more."""


class Watcher:
    """A watch bound to a network and a batch.

    Args:
        network: where the sites are.
        watch: None: nothing is watched.
        prompt_lengths: tokens of each prompt of the batch.

    Raises:
        SiteNotFound, SiteNotOffered
        BadArgument: a site has no activation per token.
    """

    def __init__(self, network: Network, watch: Watch | None, prompt_lengths: tuple[int, ...]) -> None:
        self._network = network
        self._see = watch.see if watch is not None else None
        self.sites = () if watch is None else resolve(network, watch.sites)
        for site in self.sites:
            if site.kind == "pattern":
                raise BadArgument(f"{site} holds no activation of one token, so it cannot be watched.")
        self._depths = {site: blocks_run(network, [site]) for site in self.sites}
        self._lengths = torch.tensor(prompt_lengths)
        self._alive = torch.ones(len(prompt_lengths), dtype=torch.bool)
        self._columns: Tensor | None = None
        self._n_prompt_columns = max(prompt_lengths)
        self.ended: dict[int, int] = {}
        """Row → tokens that it had written when it was ended."""
        self.block_tokens = 0
        """Tokens × blocks that passes computed: pads and the rows that had ended count, for they were computed too."""

    def attach(self, stack: ExitStack, clock: Clock) -> None:
        """Look at each pass, until the stack closes."""
        for site in self.sites:

            def visit(tensor: Tensor, site: Site = site) -> None:
                grid = as_grid(tensor, site, clock.positions.shape, self._network)
                self._look(site, grid[:, -1], clock)

            attach(stack, self._network.module, tap(self._network, site), visit)

    def count(self, clock: Clock) -> None:
        """Add the pass that begins to the work done."""
        self.block_tokens += clock.positions.numel() * self._network.n_blocks

    def __call__(self, input_ids: Tensor, _scores: object) -> Tensor:
        """Serve `generate` as its stopping criterion: tell which rows have ended, after each new token."""
        self._columns = input_ids
        return ~self._alive.to(input_ids.device)

    def written(self) -> Tensor:
        """Return the new tokens (row, column) of the steps before writing was left in the middle of a pass."""
        if self._columns is None:
            return torch.empty(len(self._alive), 0, dtype=torch.long)
        return self._columns[:, self._n_prompt_columns :]

    def _look(self, site: Site, newest: Tensor, clock: Clock) -> None:
        assert self._see is not None
        live = self._alive & clock.valid[:, -1].cpu()
        rows = live.nonzero().flatten()
        if len(rows) == 0:
            return
        written = (clock.positions[:, -1].cpu() + 1 - self._lengths)[rows].tolist()
        seen = Seen(str(site), tuple(rows.tolist()), tuple(written), newest[rows.to(newest.device)].detach().clone())
        ends = set(self._see(seen))
        if unknown := ends - set(seen.rows):
            raise BadArgument(f"the watch ended rows {sorted(unknown)}, which were not shown to it.")
        for row, n_written in zip(seen.rows, written, strict=True):
            if row in ends:
                self.ended[row] = n_written
                self._alive[row] = False
        if ends == set(seen.rows):
            self.block_tokens -= clock.positions.numel() * (self._network.n_blocks - self._depths[site])
            raise StopWriting
