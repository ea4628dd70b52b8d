"""A toy network whose vocabulary is words, and contrast pairs that differ in one word."""

from functools import lru_cache

import pytest
import torch

import rheostat as rh
from rheostat.directions.pairs import ContrastPair
from rheostat.models.toy import toy
from tests.contract.conftest import word_tokenizer


@lru_cache(maxsize=4)
def load_words(name: str = "llama", dtype: torch.dtype = torch.float64) -> rh.Model:
    return rh.load(toy(name, dtype=dtype), tokenizer=word_tokenizer())


@pytest.fixture
def model() -> rh.Model:
    return load_words()


def some_pairs(n: int = 24, *, ragged: bool = True) -> list[ContrastPair]:
    """Pairs that end in w5 (positive) or w6 (negative), after different words in each."""
    starts = [[f"w{7 + (3 * k + step) % 57}" for step in range(1 + (k % 4 if ragged else 2))] for k in range(n)]
    return [
        ContrastPair(" ".join([*start, "w5"]), " ".join([*start, "w6"]), f"g{k // 2}") for k, start in enumerate(starts)
    ]
