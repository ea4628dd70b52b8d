"""How texts are scored: token by token, behind an inserted space that the vector covers instead of the text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from rheostat.directions.activation_addition import PromptVector, beginning_with, prompt_vectors
from rheostat.edit.edit import Edit
from rheostat.engine.cells import Cell
from rheostat.metrics.loss import Loss
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.models.tokens import Prompt
from rheostat.studies.actadd.words import N_NOUNS, NEUTRAL_NOUNS, SPACE
from rheostat.studies.curve import curve
from rheostat.studies.vocabulary import single_token

N_VECTOR = 2
"""Tokens of a vector of one word: the beginning, and the word over an inserted space."""
LOGITS_AT_ONCE = 2**26
"""Logits that one pass may hold: rows × tokens × vocabulary."""
ENDOFTEXT, IM_START = "<|endoftext|>", "<|im_start|>"

Vectors = Mapping[str, PromptVector]
"""Site → vector."""


@dataclass(frozen=True)
class Arm:
    """A vector at one block with the labels of its rows."""

    vector: str
    kind: str
    """topic, noun, random, embedding, rescaled embedding."""
    block: int
    coefficient: float
    edit: Edit

    @property
    def cell(self) -> Cell:
        """The cell of a sweep."""
        labels = {"vector": self.vector, "kind": self.kind, "block": self.block, "coefficient": self.coefficient}
        return Cell(self.edit, labels)


def beginnings(model: Model) -> tuple[str, ...]:
    """Return tokens that may begin every text, the one to use first.

    A chat model's own BOS may open a turn rather than a text; then the end-of-text token of its pretraining begins it.
    """
    vocabulary = model.tokenizer.get_vocab()
    if ENDOFTEXT in vocabulary and IM_START in vocabulary:
        return ENDOFTEXT, IM_START
    own = (model.tokenizer.bos_token, model.tokenizer.eos_token)
    return tuple(dict.fromkeys(token for token in own if token))


def nouns(model: Model, limit: int = N_NOUNS) -> list[str]:
    """Return neutral nouns that are one token of this model."""
    return [noun for noun in NEUTRAL_NOUNS if single_token(model, noun) is not None][:limit]


def spaced(model: Model, text: str, begin: str, *, inserted: str = SPACE) -> list[int]:
    """Return the tokens of a text behind its beginning and one inserted token."""
    return [*beginning_with(model, inserted, begin), *model.tokens.spell(text)]


def word_vectors(model: Model, word: str, begin: str) -> Vectors:
    """Return the vector `word − space` at the input of every block."""
    return prompt_vectors(model, word, SPACE, begin=begin)


def at_block(vectors: Vectors, block: int) -> PromptVector:
    """Return the vector at the input of a block."""
    return vectors[f"blocks.{block}.resid_pre"]


def token_rows(model: Model) -> int:
    """Return how many token-rows of a pass keep its logits within memory."""
    return max(64, min(1024, LOGITS_AT_ONCE // model.d_vocab))


def losses(model: Model, prompts: Sequence[Prompt], arms: Sequence[Arm], *, covered: int = N_VECTOR) -> pd.DataFrame:
    """Score texts under every arm.

    Tokens that are predicted at a covered position are left out, so that no vector overlaps what is scored.

    Returns:
        Rows {sentence, vector, kind, block, coefficient, tokens, loss, clean}; losses are means over `tokens`, in nats.
    """
    cells = [Cell(None, {"vector": "", "kind": "clean", "block": -1, "coefficient": 0.0}), *(arm.cell for arm in arms)]
    metric = Loss(tokens=slice(covered + 1, None))
    table = model.sweep(list(prompts), cells, metric, max_token_rows=token_rows(model), progress=False)
    table = table.rename(columns={"prompt": "sentence"})
    clean = table[table["kind"] == "clean"].set_index("sentence")["loss"]
    scored = pd.Series([len(prompt) - covered - 1 for prompt in prompts])
    steered = table[table["kind"] != "clean"].drop(columns="cell")
    return steered.assign(clean=steered["sentence"].map(clean), tokens=steered["sentence"].map(scored)).reset_index(
        drop=True
    )


def log_ratios(table: pd.DataFrame) -> Values:
    """Return per sentence (row) and block (column) what the vector adds to the loss; the mean over rows weighs tokens.

    Args:
        table: rows of one vector at one coefficient on one topic's texts.
    """
    shift = table.assign(shift=(table["loss"] - table["clean"]) * table["tokens"])
    wide = shift.pivot(index="sentence", columns="block", values="shift")
    tokens = table.drop_duplicates("sentence").set_index("sentence")["tokens"].reindex(wide.index)
    return np.asarray(wide.to_numpy(dtype=float) / float(tokens.mean()))


def topic_arms(
    vectors: Mapping[str, Vectors],
    kinds: Mapping[str, str],
    blocks: Sequence[int],
    coefficients: Sequence[float] = (1.0,),
) -> list[Arm]:
    """Return every vector at every block with every coefficient, aligned with the front."""
    return [
        Arm(name, kinds[name], block, coefficient, at_block(found, block).add(coefficient))
        for block in blocks
        for name, found in vectors.items()
        for coefficient in coefficients
    ]


def random_vectors(vectors: Vectors, n: int, *, seed: int) -> dict[str, Vectors]:
    """Return random vectors as long as the given ones at every token of every site."""
    return {
        f"random {number}": {
            site: one.random(seed=seed * 1000 + 100 * number + index)
            for index, (site, one) in enumerate(vectors.items())
        }
        for number in range(n)
    }


def ratio_curve(series: str, places: Iterable[tuple[object, Values]], seed: int) -> list[dict[str, object]]:
    """Return rows of a profile: perplexity ratios, from log ratios (sentence,) at each place."""
    return [
        {**row, **{column: float(np.exp(cast(float, row[column]))) for column in ("value", "low", "high")}}
        for row in curve(series, places, seed)
    ]
