"""Meaning arithmetic on the input embeddings: b − a + c, and the whole words nearest to it by angle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from rheostat.model import Model
from rheostat.studies.vocabulary import single_token

NEAREST = 4
"""Neighbours kept: three of them may be words of the question."""
QUERIES = 256
OFFSET, ALONE, OTHER_RELATION, MISMATCHED = (
    "offset",
    "source word alone",
    "offset of another relation",
    "mismatched offset",
)
Relations = Mapping[str, Sequence[tuple[int, int]]]


@dataclass(frozen=True)
class Analogy:
    """a is to b as c is to d; tokens."""

    relation: str
    a: int
    b: int
    c: int
    d: int


def one_token_pairs(
    model: Model, relations: Mapping[str, Sequence[tuple[str, str]]]
) -> dict[str, list[tuple[int, int]]]:
    """Return the pairs of words that are one token each with their space, as tokens; relations of two pairs or more."""
    found = {}
    for relation, pairs in relations.items():
        spelled = [(single_token(model, f" {first}"), single_token(model, f" {second}")) for first, second in pairs]
        whole = [(first, second) for first, second in spelled if first is not None and second is not None]
        if len(whole) > 1:
            found[relation] = whole
    return found


def analogies(relations: Relations, *, per_pair: int, limit: int, seed: int) -> list[Analogy]:
    """Return analogies: up to `limit` asked pairs per relation, each after `per_pair` other pairs of its relation."""
    rng, found = np.random.default_rng(seed), []
    for relation, pairs in relations.items():
        for place in rng.permutation(len(pairs))[:limit].tolist():
            c, d = pairs[place]
            others = [pair for pair in pairs if not {*pair} & {c, d}]
            for one in rng.permutation(len(others))[:per_pair].tolist():
                found.append(Analogy(relation, others[one][0], others[one][1], c, d))
    return found


def whole_words(model: Model) -> list[int]:
    """Return the tokens that are a space and letters of ASCII: whole words, or beginnings that look like one."""
    texts = ((token, model.tokens.text(token)) for token in range(model.d_vocab))
    return [token for token, text in texts if text[:1] == " " and text[1:].isascii() and text[1:].isalpha()]


def embeddings(model: Model, tokens: Sequence[int]) -> Float[Tensor, "token d_model"]:
    """Return the input embeddings of tokens."""
    table: Tensor = cast(PreTrainedModel, model.module).get_input_embeddings().get_parameter("weight")
    return table.detach()[list(tokens)].float()


def queries(model: Model, asked: Sequence[Analogy], relations: Relations, seed: int) -> dict[str, Tensor]:
    """Return, per way of asking, a vector (analogy, d_model) for each analogy; all embeddings have unit length.

    The offset of another relation and the mismatched offset (b of one pair, a of another of the same relation) are the
    shuffled controls.
    """
    rng = np.random.default_rng(seed)
    a, b, c = (_unit(embeddings(model, [getattr(one, name) for one in asked])) for name in "abc")
    others, mixed = [], []
    for one in asked:
        elsewhere = [pair for relation, pairs in relations.items() if relation != one.relation for pair in pairs]
        others.append(elsewhere[rng.integers(len(elsewhere))])
        within = [pair for pair in relations[one.relation] if one.d not in pair and pair != (one.a, one.b)]
        mixed.append(within[rng.integers(len(within))] if within else (one.a, one.b))
    other_a, other_b = (_unit(embeddings(model, [pair[side] for pair in others])) for side in (0, 1))
    mixed_b = _unit(embeddings(model, [pair[1] for pair in mixed]))
    return {OFFSET: b - a + c, ALONE: c, OTHER_RELATION: other_b - other_a + c, MISMATCHED: mixed_b - a + c}


def nearest(
    model: Model, wanted: Float[Tensor, "query d_model"], candidates: Sequence[int]
) -> Int[Tensor, "query near"]:
    """Return the candidates at the smallest angle to each query, the nearest first."""
    table = _unit(embeddings(model, candidates))
    tokens = torch.tensor(list(candidates))
    chunks = [wanted[start : start + QUERIES] @ table.T for start in range(0, len(wanted), QUERIES)]
    return torch.cat([tokens[chunk.topk(NEAREST, dim=-1).indices] for chunk in chunks])


def _unit(vectors: Tensor) -> Tensor:
    found: Tensor = vectors / vectors.norm(dim=-1, keepdim=True)
    return found
