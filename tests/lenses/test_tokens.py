"""A shown token cannot be mistaken for another one."""

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from rheostat.base.errors import NotOneToken
from rheostat.models.tokens import Tokens


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" ", "␣"),
        (" b", "␣b"),
        ("b", "b"),
        ("\n", r"\n"),
        ("\t", r"\t"),
        ("\r", r"\r"),
        ("\x00", r"\x00"),
        ("é", "é"),
        ("½", "½"),
        ("\\", r"\\"),
        ("␣", r"\u2423"),
        ("\u200b", r"\u200b"),
        ("\u00a0", r"\u00a0"),
        ("<end>", "<end>"),
    ],
)
def test_a_token_of_whole_characters_is_shown_like_this(text, shown, byte_tokenizer):
    tokens = Tokens(byte_tokenizer)
    token = tokens.token_id(text)
    assert tokens.show(token) == shown
    assert tokens.text(token) == text


def test_a_stray_byte_is_an_escape_and_no_character(byte_tokenizer):
    tokens = Tokens(byte_tokenizer)
    row = tokens.encode("ö")
    assert [tokens.show(token) for token in row.ids] == [r"\xc3", r"\xb6"]
    assert tokens.decode(row.ids) == "ö"
    with pytest.raises(NotOneToken, match=r"not one token but 2: \\xc3 \| \\xb6"):
        tokens.token_id("ö")


def test_no_two_tokens_of_a_vocabulary_look_alike(byte_tokenizer, piece_tokenizer):
    for tokenizer in (byte_tokenizer, piece_tokenizer):
        shown = [Tokens(tokenizer).show(token) for token in range(len(tokenizer))]
        assert len(set(shown)) == len(tokenizer)
        assert not any(character.isspace() or not character.isprintable() for one in shown for character in one)


@pytest.mark.parametrize(
    ("piece", "shown"),
    [("▁a", "␣a"), ("a", "a"), ("▁", "␣"), ("▁▁▁", "␣␣␣"), ("<0x0A>", r"\n"), ("<0xC3>", r"\xc3"), ("é", "é")],
)
def test_pieces_with_a_bar_for_the_space_are_shown_alike(piece, shown, piece_tokenizer):
    assert Tokens(piece_tokenizer).show(piece_tokenizer.convert_tokens_to_ids(piece)) == shown


def test_a_word_without_its_space_is_refused_with_a_hint(byte_tokenizer):
    with pytest.raises(NotOneToken, match="'bb' is not one token but 2: b"):
        Tokens(byte_tokenizer).token_id("bb")
    with pytest.raises(NotOneToken, match="Did you mean ' b', with its leading space"):
        Tokens(byte_tokenizer).token_id("  b")


def test_a_text_that_spells_out_its_bos_token_gets_no_second_one():
    tokenizer = Tokenizer(models.BPE({"<s>": 0, "a": 1, "b": 2}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken("<s>", special=True)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokens = Tokens(PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>"))
    assert tokens.encode("ab").ids == tokens.encode("<s>ab").ids == (0, 1, 2)
    assert tokens.encode("<s>ab").offsets == ((0, 3), (3, 4), (4, 5))
    assert tokens.encode("ab").offsets == ((0, 0), (0, 1), (1, 2))


@pytest.mark.parametrize(
    ("prompt", "answer", "spelled"),
    [
        ("The capital of", " Paris", ["▁Paris"]),
        ("The capital", " of Paris", ["▁of", "▁Paris"]),
        ("hot->", "Paris", ["Paris"]),
        ("The capital is", "\n", ["\n"]),
        ("The capital is\n", "Paris\n", ["Paris", "\n"]),
    ],
)
def test_an_answer_is_spelled_as_it_stands_behind_the_prompt(prompt, answer, spelled, prefixing_tokenizer):
    tokens = Tokens(prefixing_tokenizer)
    assert prefixing_tokenizer.convert_ids_to_tokens(tokens.spell(answer)) == spelled
    assert (*tokens.encode(prompt).ids, *tokens.spell(answer)) == tokens.encode(prompt + answer).ids
    assert prefixing_tokenizer.tokenize("Paris") == ["▁Paris"]  # what the tokenizer says by itself
    assert tokens.spell("") == []


def test_one_token_is_that_of_running_text(prefixing_tokenizer):
    tokens = Tokens(prefixing_tokenizer)
    for text, piece in ((" Paris", "▁Paris"), ("Paris", "Paris"), ("\n", "\n")):
        assert tokens.token_id(text) == prefixing_tokenizer.convert_tokens_to_ids(piece)
    with pytest.raises(NotOneToken, match=r"'capital' is not one token but 7: c.*Did you mean ' capital'"):
        tokens.token_id("capital")
