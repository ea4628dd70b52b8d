"""Small vocabularies: one that spells bytes in GPT-2's way, others in SentencePiece's."""

from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

MERGES = [("Ã", "©"), ("Â", "½"), ("â", "Ĳ"), ("âĲ", "£"), ("â", "Ģ"), ("âĢ", "ĭ"), ("Ġ", "b"), ("Â", "ł")]
"""What joins the bytes of é, ½, ␣ and the zero-width space, a word to its space, and the no-break space."""


@pytest.fixture(scope="session")
def byte_tokenizer() -> Any:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = dict.fromkeys([*alphabet, *("".join(pair) for pair in MERGES)])
    tokenizer = Tokenizer(models.BPE({piece: index for index, piece in enumerate(pieces)}, MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<end>", special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


@pytest.fixture(scope="session")
def piece_tokenizer() -> Any:
    pieces = ["<unk>", "▁", "▁a", "a", "▁b", "▁▁▁", "<0x0A>", "<0xC3>", "é", "\u200b"]
    tokenizer = Tokenizer(models.WordLevel({piece: index for index, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


WORDS = ("▁The", "▁capital", "▁of", "▁is", "▁Paris", "Paris", "▁▁", "\n", "▁hot", "->", "a", "1", ".")


@pytest.fixture(scope="session", params=["always", "first", "Llama 2"])
def prefixing_tokenizer(request: pytest.FixtureRequest) -> Any:
    """A tokenizer that puts a space before every text, in each of the ways that are in use."""
    pieces = {"<unk>": 0.0, **dict.fromkeys(WORDS, -1.0), **{one: -9.0 for word in WORDS for one in word}}
    tokenizer = Tokenizer(models.Unigram(list(pieces.items()), unk_id=0))
    if request.param == "Llama 2":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=request.param, split=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
