"""Attention knockout: keep the last token from reading some tokens, in a window of blocks, and see what that costs.

In each block of the window the attention edges from the target to the source tokens are cut before the softmax, in
all heads, so that the rest of the weights still add up to 1. What is measured is the relative change of the
probability of the model's own answer.

Reference: Geva et al. 2023, Dissecting Recall of Factual Associations in Auto-Regressive Language Models
(arXiv:2304.14767), section 5. There a window holds 9 of 48 blocks; here as large a part of the depth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from rheostat.base.errors import BadArgument
from rheostat.base.shapes import Profile
from rheostat.edit.knockout import CutAttention
from rheostat.engine.cells import Cell
from rheostat.engine.forward import run
from rheostat.metrics.tokens import Probability
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt, Row
from rheostat.sites.positions import Positions, PositionsLike
from rheostat.sweeps.sweep import sweep
from rheostat.sweeps.targets import block_window

WINDOW, DEPTH = 9, 48
"""Blocks of a window in the reference, and blocks of its network."""


@dataclass(frozen=True)
class Knockout:
    """What cutting each source from the target costs, window by window."""

    table: pd.DataFrame
    """Rows {source, centre, first, last, probability, change}: `change` is in % of the uncut probability."""
    answer: int
    """Token whose probability was measured: the model's own first choice, unless another was asked for."""
    probability: float
    """Of the answer, uncut."""
    width: int
    """Blocks of a window."""
    model: str
    prompt: str

    def profile(self) -> Profile:
        """Return one line per source over the windows' centres."""
        shown = self.table.rename(columns={"centre": "x", "change": "value", "source": "series"})
        return Profile(
            name="attention-knockout",
            title=f"Cutting attention to the last token, {self.model}",
            x_label=f"centre of a window of {self.width} blocks",
            y_label="change of the answer's probability (%)",
            table=shown[["x", "value", "series"]],
            note=f"“{self.prompt}”; answer's probability uncut: {self.probability:.3f}. n = 1 prompt.",
            reference={"uncut": 0.0},
        )


def attention_knockout(
    network: Network,
    prompt: Prompt,
    sources: Mapping[str, PositionsLike],
    *,
    target: PositionsLike = "last",
    width: int | None = None,
    answer: str | int | None = None,
) -> Knockout:
    """Cut the target from each source in windows centred at every block.

    Args:
        network: the loaded network.
        prompt: a text, or token ids.
        sources: name → the tokens that the target may not read; `token_roles` gives the usual ones.
        target: the tokens that read; the reference cuts the last one.
        width: blocks of a window, which is cut off at both ends of the network; None: 9 of 48, scaled to the depth.
        answer: the token whose probability is measured; None: the model's own first choice.

    Raises:
        BadArgument: there is no source, or the window has no block.
        EditNotUsable: a target would be left without any token to read.
        PositionNotFound, NotOneToken, SiteNotOffered
    """
    if not sources:
        raise BadArgument("there is no source to cut. Give names with positions, such as {'subject': 'Eiffel Tower'}.")
    blocks = window_width(network.n_blocks) if width is None else width
    if blocks < 1:
        raise BadArgument(f"width={width}: a window holds at least one block.")
    logits = run(network, prompt).logits[0, -1].float()
    token = int(logits.argmax()) if answer is None else _token(network, answer)
    clean = float(logits.softmax(-1)[token])
    cells = [
        cutting(name, source, centre, blocks, network.n_blocks, target)
        for name, source in sources.items()
        for centre in range(network.n_blocks)
    ]
    table = sweep(network, prompt, cells, Probability(token)).drop(columns=["cell", "prompt"])
    table["change"] = 100 * (table["probability"] / clean - 1)
    return Knockout(table, token, clean, blocks, network.name, network.row(prompt).shown)


def cutting(
    name: str, source: PositionsLike, centre: int, width: int, n_blocks: int, target: PositionsLike = "last"
) -> Cell:
    """Return the cell that cuts the target from a source in the window around a block."""
    window = block_window(centre, width, n_blocks)
    first, last = window[0], window[-1]
    edit = CutAttention(f"blocks.{first}-{last}.pattern", positions=target, keys=Positions.parse(source))
    return Cell(edit, {"source": name, "centre": centre, "first": first, "last": last})


def window_width(n_blocks: int) -> int:
    """Return the odd number of blocks that is nearest to 9 of 48 of the depth, at least 1."""
    return 2 * max(0, round((WINDOW / DEPTH * n_blocks - 1) / 2)) + 1


def token_roles(network: Network, prompt: Prompt, subject: PositionsLike) -> dict[str, tuple[int, ...]]:
    """Return the tokens of the subject, all other tokens but the last, and the last; special tokens have no role.

    Raises:
        BadArgument: the prompt holds no other token, or ends with the subject.
        PositionNotFound, AmbiguousPosition
    """
    row = network.row(prompt)
    chosen = Positions.parse(subject).in_prompt(row)
    end = len(row) - 1
    if end in chosen:
        raise BadArgument("the prompt ends with its subject; attention knockout needs a last token after it.")
    others = tuple(one for one in ordinary_tokens(network, row) if one not in chosen and one != end)
    if not others:
        raise BadArgument("the prompt holds nothing but its subject and the last token.")
    return {"subject": chosen, "non-subject": others, "last": (end,)}


def ordinary_tokens(network: Network, row: Row) -> tuple[int, ...]:
    """Return the positions of all tokens that are not special (BOS and the like)."""
    special: Sequence[int] = () if network.tokenizer is None else network.tokenizer.all_special_ids
    return tuple(position for position, token in enumerate(row.ids) if token not in special)


def _token(network: Network, answer: str | int) -> int:
    return network.token_id(answer) if isinstance(answer, str) else answer
