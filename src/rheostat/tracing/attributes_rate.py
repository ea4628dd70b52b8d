"""The attributes rate: how many of the words that a hidden state decodes to are about a subject.

A state is decoded by the unembedding alone, without the final norm (or with it, if asked); of its top 500 tokens, stop
words, tokens of up to two characters and tokens that are not made of letters are dropped, the first 50 of the rest are
kept, and the rate is the share of them that stand in the subject's set of words.

Reference: Geva et al. 2023, Dissecting Recall of Factual Associations in Auto-Regressive Language Models
(arXiv:2304.14767). There the sets come from Wikipedia and hold the tokens of their words; here they hold whole words.
"""

from collections.abc import Collection, Sequence
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.data.stop_words import STOP_WORDS
from rheostat.models.network import Network

TOP, KEPT = 500, 50
"""Tokens that a state decodes to, and how many of them are kept at most."""
SHORTEST = 3
"""Characters that a token needs to count as a word."""
STATES = 64
"""States decoded at a time."""


def attributes_rate(
    network: Network,
    states: Float[Tensor, "state d_model"],
    words: Collection[str],
    *,
    final_norm: bool = False,
    leave_out: Collection[str] = (),
) -> Float[Tensor, " state"]:
    """Return the share, 0 to 1, of each state's decoded words that stand in `words`; NaN for a state without any.

    Args:
        network: the loaded network.
        states: of the residual stream, or of anything as wide.
        words: about the subject.
        final_norm: decode through the final norm, as the logit lens does; the reference goes without.
        leave_out: words that count neither way: the subject's own, which every state echoes.

    Raises:
        BadArgument: `words` is one text, or empty.
    """
    return shares(decoded_words(network, states, final_norm=final_norm, leave_out=leave_out), words)


def shares(decoded: Sequence[Sequence[str]], words: Collection[str]) -> Float[Tensor, " state"]:
    """Return the share of each state's decoded words that stand in `words`; see `attributes_rate`."""
    if isinstance(words, str) or not words:
        raise BadArgument(f"the words about a subject are a set of words; {words!r} given.")
    wanted = frozenset(word.lower() for word in words)
    rates = [sum(word in wanted for word in one) / len(one) if one else float("nan") for one in decoded]
    return torch.tensor(rates)


def decoded_words(
    network: Network,
    states: Float[Tensor, "state d_model"],
    *,
    final_norm: bool = False,
    leave_out: Collection[str] = (),
) -> list[list[str]]:
    """Return, per state, up to 50 lower-case words that it decodes to, likeliest first; see `attributes_rate`."""
    return WordDecoder(network).words(states, final_norm=final_norm, leave_out=leave_out)


class WordDecoder:
    """Decodes states to words, and remembers which word each token is: for many calls on one network."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._words: dict[int, str] = {}

    def words(
        self, states: Float[Tensor, "state d_model"], *, final_norm: bool = False, leave_out: Collection[str] = ()
    ) -> list[list[str]]:
        """Return, per state, up to 50 words; see `attributes_rate`."""
        unembed = self.network.unembed if final_norm else self.network.part(self.network.body.unembed)
        dropped = STOP_WORDS | {word.lower() for word in leave_out}
        k = min(TOP, self.network.d_vocab)
        found = []
        with torch.no_grad():
            for start in range(0, len(states), STATES):
                for top in unembed(states[start : start + STATES]).topk(k).indices.tolist():
                    listed = (self._word(token) for token in top)
                    kept = (word for word in listed if len(word) >= SHORTEST and word not in dropped)
                    found.append(list(islice(kept, KEPT)))
        return found

    def _word(self, token: int) -> str:
        if token not in self._words:
            text = self.network.tokens.text(token).strip().lower()
            self._words[token] = text if text.isalpha() else ""
        return self._words[token]
