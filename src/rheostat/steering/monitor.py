"""The monitor: read a concept in each token while it is written, and stop or flag a text as soon as it crosses.

What is counted. A token that passes one block is one block-token. A text of N tokens after a prompt of P costs
(P + N − 1) × n_blocks: the last token is written, never read. A flag at the reading of written token t, at a site that
needs k blocks, has cost (P + t − 1) × n_blocks + k by then; a flag at the prompt's last token (t = 0) P × k, since the
prompt passes as a whole. The difference *could be saved*. What *was saved* is less in a batch: its passes go on for the
other rows until the last has ended, and only the pass in which the last row ends is left in the middle.
`MonitoredGeneration.block_tokens` counts what was computed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
import torch

from rheostat.base.errors import BadArgument
from rheostat.directions.direction import Direction
from rheostat.directions.directions import Directions
from rheostat.directions.scores import as_directions, block_of
from rheostat.edit.plan import PlanLike
from rheostat.engine.batch import as_prompts
from rheostat.engine.generate import Generation, generate
from rheostat.engine.stream import blocks_run
from rheostat.engine.watch import Seen, Watch
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.sites.site import resolve_single
from rheostat.steering.threshold import Pool, Smoothing

Action: TypeAlias = Literal["stop", "flag"]


@dataclass(frozen=True)
class MonitoredGeneration:
    """Texts that were read while they were written."""

    generation: Generation
    """What was written; of stopped rows up to the token at which the flag came."""
    action: Action
    threshold: float
    flags: pd.DataFrame
    """One row per prompt: {row, flagged, site, block, token, shown, value, prompt_tokens, written, full_tokens,
    before_end, cost, full_cost, could_be_saved}. `token` counts the written tokens, 0 is the prompt's last; `written`
    are the tokens of the text here, `full_tokens` those of the text without a monitor, `before_end` those of them after
    the flag. Costs are block-tokens of the row alone: `cost` until the flag, else of the whole text. What needs the
    full text is missing where that was not written."""
    readings: pd.DataFrame
    """Rows {row, site, block, token, shown, reading, value}: the score of each token read and its smoothed value."""
    block_tokens: int
    """Tokens × blocks that this run computed, pads and finished rows of the batch included."""
    unmonitored: Generation | None = field(default=None, repr=False)

    @property
    def texts(self) -> tuple[str, ...]:
        """Per prompt, the new text."""
        return self.generation.texts

    def __repr__(self) -> str:
        n = len(self.flags)
        return f"MonitoredGeneration({int(self.flags['flagged'].sum())} of {n} rows flagged above {self.threshold:g})"


def monitor(
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    directions: Directions | Direction,
    threshold: float,
    *,
    action: Action = "stop",
    window: int = 1,
    pool: Pool = "mean",
    compare: bool = False,
    edits: PlanLike = None,
    max_new_tokens: int = 20,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    row_ids: Sequence[int] | None = None,
    use_cache: bool = True,
) -> MonitoredGeneration:
    """Continue prompts, and stop or flag a text at the first token whose reading lies above the threshold.

    The prompt's last token is read too, so a flag can come before anything is written; not so the first token of a row,
    whose activation is far larger than any other in many models: in a prompt of one token nothing is read. A row is
    monitored as if it were alone, and its text up to the flag is the beginning of the text without a monitor.

    Args:
        network: the network that the directions were fitted on.
        prompts: one or several; they run as one batch.
        directions: where to read: one direction, or several sites, of which the first to cross raises the flag.
        threshold: in calibrated scores (+1: mean of the positive class); see `threshold_for`.
        action: `stop` ends the row at the token that crossed; `flag` writes on and notes the first crossing.
        window: how many of the newest readings are pooled, at each site for itself.
        pool: `mean` or `maximum` of them.
        compare: also write the texts without a monitor, to state what a stop could save. With `flag` they are known.
        edits: one plan for every row; readings see it.
        max_new_tokens: tokens to write at most.
        temperature: as in `generate`, like all that follows.
        top_k: as in `generate`.
        top_p: as in `generate`.
        seed: as in `generate`.
        row_ids: as in `generate`.
        use_cache: as in `generate`; the result does not depend on it.

    Raises:
        BadArgument: a setting is outside its range.
        DirectionNotUsable: a direction belongs to another network, or has no calibration.
    """
    if action not in ("stop", "flag"):
        raise BadArgument(f"action={action!r}: 'stop' or 'flag'.")
    if not np.isfinite(threshold):
        raise BadArgument(f"threshold={threshold}: a finite score, such as threshold_for(…) returns.")
    listed = as_prompts(prompts)
    n_prompt = [len(network.row(prompt)) for prompt in listed]
    smoothing = Smoothing(window, pool)
    reader = _Reader(network, as_directions(directions), threshold, smoothing, n_prompt, stops=action == "stop")

    def write(watch: Watch | None) -> Generation:
        return generate(
            network,
            listed,
            edits=edits,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            row_ids=row_ids,
            use_cache=use_cache,
            watch=watch,
        )

    written = write(reader.watch)
    full = written if action == "flag" else (write(None) if compare else None)
    assert written.block_tokens is not None
    return MonitoredGeneration(
        written,
        action,
        threshold,
        _flags(network, reader, written, full, n_prompt),
        reader.table(written, [network.row(prompt).ids[-1] for prompt in listed]),
        written.block_tokens,
        full,
    )


class _Reader:
    """Reads each row's newest token at every site, smooths, and notes the first crossing."""

    def __init__(
        self,
        network: Network,
        directions: Directions,
        threshold: float,
        smoothing: Smoothing,
        n_prompt: Sequence[int],
        *,
        stops: bool,
    ) -> None:
        for direction in directions.values():
            direction.check(network)
        self._network = network
        self._directions = {str(resolve_single(network, site)): one for site, one in directions.items()}
        self._threshold = threshold
        self._smoothing = smoothing
        self._n_prompt = n_prompt
        self._stops = stops
        self._readings: dict[tuple[int, str], list[float]] = {}
        self._rows: list[dict[str, object]] = []
        self.crossings: dict[int, tuple[str, int, float]] = {}
        """Row → site, written tokens and value at its first crossing."""

    @property
    def watch(self) -> Watch:
        """What looks on while texts are written."""
        return Watch(tuple(self._directions), self._see)

    def _see(self, seen: Seen) -> Collection[int]:
        wide = seen.activation.to(torch.promote_types(seen.activation.dtype, torch.float32))
        scores = self._directions[seen.site].scores(wide).tolist()
        crossed = []
        for row, written, score in zip(seen.rows, seen.written, scores, strict=True):
            if self._n_prompt[row] + written == 1:  # the first token of its row
                continue
            before = self._readings.setdefault((row, seen.site), [])
            before.append(score)
            value = self._smoothing.newest(before)
            self._rows.append({"row": row, "site": seen.site, "token": written, "reading": score, "value": value})
            if value > self._threshold and row not in self.crossings:
                self.crossings[row] = (seen.site, written, value)
                crossed.append(row)
        return crossed if self._stops else ()

    def table(self, written: Generation, last_prompt_tokens: Sequence[int]) -> pd.DataFrame:
        """Return the readings, row by row in the order of reading."""
        table = pd.DataFrame(self._rows, columns=["row", "site", "token", "reading", "value"])
        blocks = {site: block_of(self._network, site) for site in self._directions}
        table.insert(2, "block", table["site"].map(blocks).astype("Int64"))
        tokens = [(last, *ids) for last, ids in zip(last_prompt_tokens, written.ids, strict=True)]
        places = zip(table["row"], table["token"], strict=True)
        table.insert(4, "shown", [self._network.show_token(tokens[row][token]) for row, token in places])
        return table.sort_values("row", kind="stable").reset_index(drop=True)


def _flags(
    network: Network, reader: _Reader, written: Generation, full: Generation | None, n_prompt: Sequence[int]
) -> pd.DataFrame:
    rows = []
    for row, ids in enumerate(written.ids):
        crossing = reader.crossings.get(row)
        n_full = None if full is None else len(full.ids[row])
        if crossing is None:
            n_full = len(ids)  # nobody stopped it
        full_cost = None if n_full is None else cost_of_text(network, n_prompt[row], n_full)
        entry: dict[str, object] = {"row": row, "flagged": crossing is not None}
        if crossing is not None:
            site, token, value = crossing
            cost = cost_until(network, n_prompt[row], token, site)
            shown = network.show_token(ids[token - 1]) if token else "(prompt)"
            entry |= {"site": site, "block": block_of(network, site), "token": token, "shown": shown, "value": value}
            entry |= {"before_end": None if n_full is None else n_full - token, "cost": cost}
            entry |= {"could_be_saved": None if full_cost is None else full_cost - cost}
        else:
            entry |= {"cost": full_cost, "could_be_saved": 0}
        entry |= {"prompt_tokens": n_prompt[row], "written": len(ids), "full_tokens": n_full, "full_cost": full_cost}
        rows.append(entry)
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


_COLUMNS: Mapping[str, str] = {
    "row": "int64",
    "flagged": "bool",
    "site": "string",
    "block": "Int64",
    "token": "Int64",
    "shown": "string",
    "value": "float64",
    "prompt_tokens": "int64",
    "written": "int64",
    "full_tokens": "Int64",
    "before_end": "Int64",
    "cost": "Int64",
    "full_cost": "Int64",
    "could_be_saved": "Int64",
}


def cost_of_text(network: Network, n_prompt: int, n_written: int) -> int:
    """Return the block-tokens of writing a text alone, with a cache: its last token is written, never read."""
    return (n_prompt + n_written - 1) * network.n_blocks


def cost_until(network: Network, n_prompt: int, token: int, site: str) -> int:
    """Return the block-tokens of a row alone until written token `token` (0: the prompt's last) is read at a site."""
    depth = blocks_run(network, [resolve_single(network, site)])
    return (n_prompt + token - 1) * network.n_blocks + depth if token else n_prompt * depth
