"""The contract runs on small random networks of every family, in float64, where no error can hide behind noise."""

import math
from contextlib import AbstractContextManager
from functools import lru_cache
from unittest.mock import patch

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import rheostat as rh
from rheostat.engine import division
from rheostat.models.toy import D_VOCAB, TOYS, toy

CORE = ("llama", "gemma3", "gpt2", "gpt_neox")


FLOAT32_SOFTMAX = ("gemma2", "bloom")
"""Eager attention that takes its softmax in float32 whatever the weights: no float64 contract can hold there."""

WAYS = {"branching": math.inf, "in full": 0}
"""What full rows would cost: one way or the other is forced where a test is about it."""


TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
"""How far two ways of computing the same may lie apart: absolute, since the toys' logits reach about 1."""


def tolerance(logits: torch.Tensor) -> float:
    """Return the tolerance for logits; in float32 it is of their range, where that exceeds 1."""
    size = float(logits.max() - logits.min()) if logits.dtype == torch.float32 else 1.0
    return TOLERANCE[logits.dtype] * max(1.0, size)


def dividing(way: str) -> AbstractContextManager[object]:
    """Force a way for the cells of sweeps that could go either."""
    return patch.object(division, "_full_cost", return_value=WAYS[way])


@lru_cache(maxsize=64)
def load_toy(name: str) -> rh.Model:
    dtype = torch.float32 if name in FLOAT32_SOFTMAX else torch.float64
    return rh.load(toy(name, dtype=dtype), tokenizer=word_tokenizer())


@lru_cache(maxsize=1)
def word_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer in which `w7` is token 7."""
    words = {"<pad>": 0, "<bos>": 1, "<eos>": 2, "<unk>": 3, **{f"w{i}": i for i in range(4, D_VOCAB)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


@pytest.fixture(params=list(TOYS))
def model(request: pytest.FixtureRequest) -> rh.Model:
    """Every family."""
    return load_toy(request.param)


@pytest.fixture(params=CORE)
def core_model(request: pytest.FixtureRequest) -> rh.Model:
    """The families that the slower, generated examples run on."""
    return load_toy(request.param)
