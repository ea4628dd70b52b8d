"""Activation addition: its identities hold exactly, and it lands where it is aligned."""

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, NotOneToken, PositionNotFound
from rheostat.directions.activation_addition import beginning_with, prompt_vectors
from tests.contract.conftest import CORE, load_toy, word_tokenizer

BEGIN, SPACE, WORD = 1, 5, 20
TEXT = [31, 32, 33, 34]
PROMPT = [BEGIN, SPACE, *TEXT]
"""A text behind an inserted space."""


@pytest.fixture(params=CORE)
def core_model(request: pytest.FixtureRequest) -> rh.Model:
    return load_toy(request.param)


def logits(model: rh.Model, ids: list[int], edits: rh.Edit | None = None) -> torch.Tensor:
    return model.run([ids], edits, logits_at="all").logits[0]


def vector(model: rh.Model, block: int, positive=(WORD,), negative=(SPACE,), **settings):
    site = f"blocks.{block}.resid_pre"
    return prompt_vectors(model, list(positive), list(negative), site, begin=BEGIN, padding=SPACE, **settings)[site]


def test_a_word_over_an_inserted_space_at_block_0_is_prompting_with_the_word(core_model):
    steered = logits(core_model, PROMPT, vector(core_model, 0).add())
    prompted = logits(core_model, [BEGIN, WORD, *TEXT])
    torch.testing.assert_close(steered, prompted, rtol=0, atol=1e-9)
    assert (steered - logits(core_model, PROMPT)).abs().max() > 0.01  # the control: the word matters


def test_at_a_later_block_it_is_not_prompting(core_model):
    steered = logits(core_model, PROMPT, vector(core_model, 1).add())
    assert (steered - logits(core_model, [BEGIN, WORD, *TEXT])).abs().max() > 1e-3


def test_coefficient_0_changes_no_bit(core_model):
    assert torch.equal(logits(core_model, PROMPT, vector(core_model, 1).add(0.0)), logits(core_model, PROMPT))


def test_exchanging_the_prompts_negates_the_vector_bit_for_bit(core_model):
    one, other = vector(core_model, 2), vector(core_model, 2, (SPACE,), (WORD,))
    assert torch.equal(one.vector, -other.vector)
    assert torch.equal((-one).vector, other.vector)
    assert (one.positive, one.negative) == (other.negative, other.positive)
    assert one.norms[1] > 0.1


def test_the_vector_is_exactly_zero_where_both_prompts_are_the_same_so_far(core_model):
    found = vector(core_model, 2, (7, WORD), (7, SPACE, 9))
    assert len(found) == 4  # the shorter prompt is filled up
    assert found.norms[:2].tolist() == [0, 0]
    assert found.norms[2:].min() > 0.1


def test_padding_fills_the_shorter_prompt_behind_its_end():
    model = load_toy("llama")
    padded = vector(model, 1, (7, 8, 9), (10,))
    spelled = vector(model, 1, (7, 8, 9), (10, SPACE, SPACE))
    assert torch.equal(padded.vector, spelled.vector)
    assert torch.equal(vector(model, 1, (7,), ()).vector, vector(model, 1, (7,), (SPACE,)).vector)


def test_nothing_is_subtracted_where_there_is_no_negative_prompt():
    model = load_toy("llama")
    site = "blocks.1.resid_pre"
    alone = prompt_vectors(model, [WORD], None, site, begin=BEGIN, padding=SPACE)[site]
    held = model.capture([[BEGIN, WORD]], site, positions="all")[site][0]
    assert torch.equal(alone.vector, held)


@pytest.mark.parametrize(
    ("align", "n_tokens", "places"),
    [("front", None, (0, 1)), ("back", None, (6, 7)), ("middle", 8, (3, 4)), ("middle", 2, (0, 1))],
)
def test_it_lands_where_it_is_aligned(align, n_tokens, places):
    model = load_toy("llama")
    edit = vector(model, 1).add(align=align, n_tokens=n_tokens)
    assert edit.where.in_length(n_tokens or 8) == places


def test_a_prompt_shorter_than_the_vector_is_refused():
    model = load_toy("llama")
    long = vector(model, 1, (7, 8, 9), (SPACE,))
    for align in ("front", "back"):
        with pytest.raises(PositionNotFound):
            model.run([[BEGIN, 9]], long.add(align=align))
    with pytest.raises(BadArgument, match="n_tokens, the prompt's length, of at least 4; 3 given"):
        long.add(align="middle", n_tokens=3)
    with pytest.raises(BadArgument, match="None given"):
        long.add(align="middle")


def test_a_random_vector_has_its_length_at_every_token_and_another_direction():
    found = vector(load_toy("llama"), 1)
    drawn = found.random(seed=3)
    torch.testing.assert_close(drawn.norms, found.norms)
    assert torch.equal(drawn.vector, found.random(seed=3).vector)
    assert not torch.equal(drawn.vector, found.random(seed=4).vector)
    cosine = torch.cosine_similarity(drawn.vector[1], found.vector[1], dim=0)
    assert cosine.abs() < 0.9


def test_lengths_are_taken_from_another_vector_token_by_token():
    model = load_toy("llama")
    first, later = vector(model, 0), vector(model, 2)
    moved = first.at("blocks.2.resid_pre", model).with_norms_of(later)
    assert moved.site == "blocks.2.resid_pre"
    torch.testing.assert_close(moved.norms, later.norms)
    torch.testing.assert_close(torch.cosine_similarity(moved.vector[1], first.vector[1], dim=0).item(), 1.0)
    with pytest.raises(BadArgument, match="of 2 tokens cannot take the lengths of one of 3"):
        first.with_norms_of(vector(model, 0, (7, 8)))


def test_a_beginning_takes_the_place_of_what_the_tokenizer_puts_there():
    model = load_toy("llama")
    assert beginning_with(model, "w7 w8", None) == [7, 8]
    assert beginning_with(model, "w7 w8", "<eos>") == [2, 7, 8]
    assert beginning_with(model, "", "<eos>") == [2]
    assert beginning_with(model, [2, 7], 2) == [2, 7]
    with pytest.raises(NotOneToken):
        beginning_with(model, "w7", "w7 w8")


def test_a_beginning_of_the_tokenizer_is_not_doubled():
    from tokenizers.processors import TemplateProcessing

    tokenizer = word_tokenizer.__wrapped__()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", BEGIN)]
    )
    model = rh.load(load_toy("llama").module, tokenizer=tokenizer)
    assert beginning_with(model, "w7", None) == [BEGIN, 7]
    assert beginning_with(model, "w7", "<eos>") == [2, 7]


@pytest.mark.parametrize(("positive", "negative"), [([7], [7]), ([], [7])])
def test_a_pair_without_a_difference_is_refused(positive, negative):
    with pytest.raises(BadArgument, match="no difference to add"):
        prompt_vectors(load_toy("llama"), positive, negative)


def test_an_unknown_alignment_is_refused():
    with pytest.raises(BadArgument, match="'front', 'middle' or 'back'"):
        vector(load_toy("llama"), 0).add(align="centre")


# --- the default model ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def default() -> rh.Model:
    return rh.load("smollm2-135m-instruct", dtype="float32")


@pytest.mark.slow
def test_the_identities_hold_on_the_default_model(default):
    begin, text = "<|endoftext|>", "The bride walked down the aisle on the arm of her father."
    found = prompt_vectors(default, " weddings", " ", begin=begin)
    swapped = prompt_vectors(default, " ", " weddings", begin=begin)
    assert len(found) == default.n_blocks
    for site, one in found.items():
        assert one.norms[0] == 0
        assert one.norms[1] > 1
        assert torch.equal(one.vector, -swapped[site].vector)
    ids = [*beginning_with(default, " ", begin), *default.tokens.spell(text)]
    prompted = [*beginning_with(default, " weddings", begin), *default.tokens.spell(text)]
    clean, wanted = logits(default, ids), logits(default, prompted)
    size = float(clean.max() - clean.min())
    assert torch.equal(logits(default, ids, found["blocks.8.resid_pre"].add(0.0)), clean)
    assert (logits(default, ids, found["blocks.0.resid_pre"].add()) - wanted).abs().max() < 1e-5 * size
    assert (clean - wanted).abs().max() > 0.05 * size
    swap = logits(default, ids, swapped["blocks.8.resid_pre"].add(1.0))
    assert torch.equal(swap, logits(default, ids, found["blocks.8.resid_pre"].add(-1.0)))
