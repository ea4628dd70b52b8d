"""From a stream and a setting to the tokens of prompts, each ending where a label would stand.

Prompts are put together from pieces that are spelled apart, so that one that begins another as a text does so in tokens
too, and the sweep runs the longest alone.
"""

from collections.abc import Sequence

import numpy as np

from rheostat.data.neutral_prompts import NEUTRAL_PROMPTS
from rheostat.models.network import Network
from rheostat.studies.flipped_labels.settings import UNRELATED, Setting
from rheostat.studies.flipped_labels.streams import Example, Stream, dealt
from rheostat.studies.flipped_labels.texts import TextSet
from rheostat.tasks.format import INPUT

BARE = "Input: {}"
"""A demonstration without its label."""
APART = 4
"""With fewer demonstrations per class than this, queries of a stream are asked apart; else one after the other."""


def labels_of(texts: TextSet, setting: Setting) -> tuple[str, str]:
    """Return the words that stand for class 0 and class 1."""
    return texts.labels if setting.words == "natural" else UNRELATED[setting.words]


def prompts_of(network: Network, texts: TextSet, stream: Stream, setting: Setting, *, seed: int) -> list[list[int]]:
    """Return the tokens of one prompt per query.

    From `APART` demonstrations per class on, a query is a demonstration to the queries after it, whose label is dealt
    by the setting's share as well: the last query has as many more demonstrations as there are queries before it.

    Raises:
        NotOneToken: a label is several tokens of this network.
    """
    labels, n = labels_of(texts, setting), 2 * setting.k
    for label in labels:
        network.token_id(INPUT.lead + label)
    shown, asked = stream.shown[:n], stream.queries
    written = dealt([one.side for one in shown], setting.share, setting.deal, seed=seed)
    start = [*_filler(network, texts, stream, setting), *_demonstrations(network, shown, written, labels, setting)]
    if setting.k < APART:
        return [_begun(network, [*start, *network.tokens.spell(INPUT.ask(query.text))]) for query in asked]
    later = _later(asked, setting, seed)
    found, before = [], start
    for query, side in zip(asked, later, strict=True):
        found.append(_begun(network, [*before, *network.tokens.spell(INPUT.ask(query.text))]))
        before = [*before, *_demonstrations(network, [query], [side], labels, setting)]
    return found


def _later(asked: Sequence[Example], setting: Setting, seed: int) -> list[int]:
    """Return the side whose label each query gets once it is a demonstration: flipped by chance, at the share."""
    rng = np.random.default_rng(seed + 1)
    share = 0.5 if setting.deal == "permuted" else setting.share
    return [1 - one.side if rng.random() < share else one.side for one in asked]


def _demonstrations(
    network: Network, shown: Sequence[Example], written: Sequence[int], labels: tuple[str, str], setting: Setting
) -> list[int]:
    pieces: list[int] = []
    for one, side in zip(shown, written, strict=True):
        if setting.labelled:
            pieces += network.tokens.spell(INPUT.ask(one.text))
            pieces += network.tokens.spell(INPUT.lead + labels[side])
        else:
            pieces += network.tokens.spell(BARE.format(one.text))
        pieces += network.tokens.spell(INPUT.between)
    return pieces


def _filler(network: Network, texts: TextSet, stream: Stream, setting: Setting) -> list[int]:
    """Return neutral text as long as the demonstrations that are left out."""
    if not setting.filler_to:
        return []
    left_out = stream.shown[2 * setting.k : 2 * setting.filler_to]
    sides = [one.side for one in left_out]
    n = len(_demonstrations(network, left_out, sides, labels_of(texts, setting), setting))
    line = network.tokens.spell(" ".join(f"{one}." for one in NEUTRAL_PROMPTS) + " ")
    end = network.tokens.spell(INPUT.between)
    return [*(line * (n // len(line) + 1))[: n - len(end)], *end]


def _begun(network: Network, tokens: Sequence[int]) -> list[int]:
    """Return tokens after those that the tokenizer puts before every text."""
    row = network.row("a").ids
    return [*row[: len(row) - len(network.tokens.spell("a"))], *tokens]
