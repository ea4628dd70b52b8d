"""What a sweep will compute, stated before it runs: passes, work, memory and time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rheostat.edit.plan import PlanLike
from rheostat.engine.batch import as_prompts
from rheostat.engine.cells import Cell
from rheostat.engine.division import Division, FullRow, divide, lengths_together
from rheostat.engine.forward import positions_in, run_rows
from rheostat.engine.sweep import MAX_TOKEN_ROWS, prepare
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt, Row
from rheostat.sites.positions import PositionsLike

TIMED_TOKEN_ROWS = 192
"""Of the pass that is timed: about where a token of a row costs least."""


@dataclass(frozen=True)
class SweepCost:
    """What a sweep will compute, stated before it runs."""

    n_cells: int
    n_prompts: int
    passes: int
    """Calls of the network, the shared runs included."""
    block_token_rows: int
    """How often a token of a row passes a block, at most."""
    plain_block_token_rows: int
    """The same for one forward pass per cell."""
    bytes: int
    """Memory beside the weights and the results, estimated."""
    seconds: float = field(compare=False)
    """Estimated from two short passes that were timed here and now."""

    def __str__(self) -> str:
        return (
            f"{self.n_cells} cells × {self.n_prompts} prompts in {self.passes} passes; at most "
            f"{self.block_token_rows} block-token-rows instead of {self.plain_block_token_rows} one by one; "
            f"about {self.bytes / 1e6:.0f} MB and {self.seconds:.1f} s"
        )


def explain_sweep(
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    cells: "Sequence[Cell | PlanLike]",
    *,
    logits_at: PositionsLike = "last",
    max_token_rows: int = MAX_TOKEN_ROWS,
) -> SweepCost:
    """State what a sweep would compute, without running it.

    Prompts that edits read are run, and two short passes over the first prompt are timed. Cells whose edits turn out to
    change nothing cost less than stated here.

    Raises:
        SiteNotFound, PositionNotFound, EditNotUsable, EditNotApplied: the message names the cell.
    """
    rows = [network.row(prompt) for prompt in as_prompts(prompts, network)]
    asked = positions_in(rows, logits_at)
    listed, bound = prepare(network, rows, cells, max_token_rows)
    division = divide(network, rows, bound, asked, max_token_rows=max_token_rows, shared=False)
    n_blocks = network.n_blocks
    together = lengths_together(rows, division.branching, max_token_rows)
    n_shared, n_bases = sum(len(rows[prompt]) for prompt in division.branching), len(division.bases)
    passes = n_bases * len(together) + len(division.groups) + len(division.batches)
    work = n_blocks * n_bases * n_shared + sum(each.block_token_rows(n_blocks) for each in division.groups)
    work += n_blocks * sum(len(batch) * _width(batch) for batch in division.batches)
    return SweepCost(
        n_cells=len(listed),
        n_prompts=len(rows),
        passes=passes,
        block_token_rows=work,
        plain_block_token_rows=n_blocks * len(listed) * sum(map(len, rows)),
        bytes=_bytes(network, rows, max(map(len, asked)), division, together),
        seconds=_seconds(network, rows[0], passes, work),
    )


def _width(batch: Sequence[FullRow]) -> int:
    return max(one.n_tokens for one in batch)


def _bytes(
    network: Network, rows: Sequence[Row], n_asked: int, division: Division, together: Sequence[Sequence[int]]
) -> int:
    """Estimate the memory of the largest group of shared runs and of the widest pass, logits included."""
    body, longest = network.body, max(map(len, rows))
    heads = body.n_heads * body.d_head
    kept = max((sum(len(rows[prompt]) for prompt in each) for each in together), default=0)
    shared = kept * ((body.n_blocks + 1) * body.d_model + 2 * body.n_blocks * heads)
    sizes = [(len(each.places), each.n_tokens) for each in division.groups]
    sizes += [(len(batch), _width(batch)) for batch in division.batches]
    sizes += [(len(each), len(rows[each[0]])) for each in together]
    n_rows, n_tokens = max(n for n, _ in sizes), max(n * tokens for n, tokens in sizes)
    one_block = n_tokens * (6 * body.d_model + 3 * body.d_mlp + 4 * heads) + n_rows * longest * 4 * heads
    return network.dtype.itemsize * (shared + one_block + 3 * n_rows * n_asked * body.d_vocab)


def _seconds(network: Network, row: Row, passes: int, work: int) -> float:
    """Time a pass of one row and a wide one, and say what so many passes with so much work would take."""
    n_rows = max(2, TIMED_TOKEN_ROWS // len(row))
    _pass_time(network, row, 1)  # what is only done once is not counted
    short, wide = (_pass_time(network, row, n) for n in (1, n_rows))
    each = max(0.0, wide - short) / ((n_rows - 1) * len(row) * network.n_blocks)
    fixed = max(0.0, short - each * len(row) * network.n_blocks)
    return passes * fixed + work * each


def _pass_time(network: Network, row: Row, n_rows: int) -> float:
    start = time.perf_counter()
    logits = run_rows(network, [row] * n_rows, [None] * n_rows, [(len(row) - 1,)] * n_rows)
    float(logits[0][0, 0])  # waits for a device that computes on its own
    return time.perf_counter() - start
