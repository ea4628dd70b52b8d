"""Two small vocabularies: one that spells bytes in GPT-2's way, one in SentencePiece's."""

from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
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
