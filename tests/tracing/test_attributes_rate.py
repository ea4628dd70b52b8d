"""The attributes rate is what a count by hand gives, and sees words that are planted."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import rheostat as rh
from rheostat.base.errors import BadArgument
from rheostat.models.toy import D_VOCAB, toy
from rheostat.tracing import attributes_rate as module
from rheostat.tracing.attributes_rate import attributes_rate, decoded_words

WORDS = ["berlin", "the", "of", "München", "rhine", "7th", "beer", "an", "opera", "Beer"]
"""The word of each of the first tokens; all others hold a digit, so they are no words."""
STATE = torch.arange(16, 0, -1).float()[None]
"""Decodes to the words in their order."""


@pytest.fixture
def model() -> rh.Model:
    """A network whose unembedding reads the residual stream off: coordinate i is the logit of token i."""
    words = {word: token for token, word in enumerate(WORDS)} | {f"w{i}": i for i in range(len(WORDS), D_VOCAB)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w63"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    network = toy("llama")
    with torch.no_grad():
        network.lm_head.weight.copy_(torch.eye(D_VOCAB, 16))
        network.model.norm.weight.copy_(torch.arange(1, 17) ** 2)
    return rh.load(network, tokenizer=PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="w63"))


def test_words_come_in_order_without_stop_words_short_ones_and_what_is_no_word(model):
    assert decoded_words(model, STATE) == [["berlin", "münchen", "rhine", "beer", "opera", "beer"]]


def test_the_rate_counts_what_stands_in_the_set_in_whatever_case(model):
    assert attributes_rate(model, STATE, {"Berlin", "BEER", "the"}).tolist() == pytest.approx([3 / 6])
    assert attributes_rate(model, STATE, {"vienna"}).tolist() == [0]


def test_words_left_out_count_neither_way(model):
    rate = attributes_rate(model, STATE, {"berlin", "rhine"}, leave_out={"Berlin", "opera"})
    assert rate.tolist() == pytest.approx([1 / 4])


def test_only_the_likeliest_are_kept(model, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 2)
    assert decoded_words(model, STATE) == [["berlin", "münchen"]]
    monkeypatch.setattr(module, "TOP", 3)
    assert decoded_words(model, STATE) == [["berlin"]]


def test_the_final_norm_is_left_out_unless_asked_for(model):
    assert decoded_words(model, STATE)[0][0] == "berlin"
    assert decoded_words(model, STATE, final_norm=True)[0][-1] == "berlin"


def test_a_state_that_says_no_word_has_no_rate(model):
    assert attributes_rate(model, STATE, {"berlin"}, leave_out=WORDS).isnan().all()


@pytest.mark.parametrize("words", ["berlin", ()])
def test_a_text_or_nothing_is_no_set_of_words(model, words):
    with pytest.raises(BadArgument, match="set of words"):
        attributes_rate(model, STATE, words)
