"""The study of activation addition finds each claim where it is planted, and not where it is not."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from rheostat.data.bbc import Document
from rheostat.data.weddings_and_shipping import SHIPPING, WEDDINGS
from rheostat.studies.actadd import depth, embedding, on_topic, opposites, power, prompting, steering, strength
from rheostat.studies.actadd.completions import UNSTEERED, Completed
from rheostat.studies.actadd.measuring import EMBEDDING, NOUN, RANDOM, RESCALED, TOPIC, Scored
from rheostat.studies.actadd.power import PLANTED, Power
from rheostat.studies.actadd.scoring import Arm, log_ratios, losses
from rheostat.studies.actadd.texts import own_texts, sentences_of
from rheostat.studies.actadd.words import CONCEPTS, NEUTRAL_NOUNS, OPPOSITES, mentions
from rheostat.studies.actadd.words import WEDDINGS as CONCEPT
from rheostat.studies.run import all_claims
from tests.contract.conftest import load_toy
from tests.directions.test_activation_addition import BEGIN, SPACE, TEXT, vector

TEXTS = own_texts(12)
BLOCKS, N_BLOCKS = (0, 4, 8), 30
NOUNS = NEUTRAL_NOUNS[:5]
SEEN, BLIND = Power(True, "Seen."), Power(False, "Not seen.")

Shift = Callable[[str, str, str, int], float]
"""(text, vector, kind, block) → planted log ratio."""


def as_in_the_paper(text: str, vector: str, kind: str, block: int) -> float:
    """A topic's vector helps its own texts; early, and most of all as a prompt, it harms the others."""
    if kind != TOPIC:
        return -0.05 if kind == EMBEDDING else 0.3 if kind == RANDOM else 0.0
    if vector.strip() == text:
        return -0.2
    return {0: 0.4, 4: 0.2, 8: 0.0}[block]


def nothing(text: str, vector: str, kind: str, block: int) -> float:
    return 0.0


def mirrored(text: str, vector: str, kind: str, block: int) -> float:
    return -as_in_the_paper(text, vector, kind, block)


def scored(shift: Shift, seed: int = 0) -> Scored:
    rng = np.random.default_rng(seed)
    arms = [(word, TOPIC) for word in TEXTS.words] + [(noun, NOUN) for noun in NOUNS] + [("random 0", RANDOM)]
    arms += [(word, kind) for word in TEXTS.words for kind in (EMBEDDING, RESCALED)]
    rows = []
    for text in TEXTS.topics:
        for sentence in range(12):
            clean, tokens = 3 + rng.normal(), int(rng.integers(10, 20))
            for name, kind in arms:
                for block in BLOCKS[1:] if kind in (EMBEDDING, RESCALED) else BLOCKS:
                    loss = clean + shift(text, name, kind, block) + rng.normal(0, 0.02)
                    place = {"topic": text, "sentence": sentence, "vector": name, "kind": kind, "block": block}
                    rows.append({**place, "coefficient": 1.0, "tokens": tokens, "loss": loss, "clean": clean})
    return Scored(TEXTS, pd.DataFrame(rows))


def prompted(found: Scored) -> pd.DataFrame:
    """Prompting that equals the vector at block 0, and texts without an inserted space."""
    at_0 = found.table[(found.table["kind"] == TOPIC) & (found.table["block"] == 0)]
    tables = [at_0.assign(inserted=at_0["vector"])]
    tables.append(at_0[at_0["vector"] == TEXTS.words[0]].assign(inserted="", loss=lambda one: one["clean"] - 0.5))
    return pd.concat(tables)[["topic", "sentence", "inserted", "tokens", "loss"]]


def completed(shares: dict[tuple[str, str], float], losses: dict[str, float], seed: int = 0) -> Completed:
    """Completions whose share of words is planted by (kind, align), and whose loss by align; else 0.05 and 3."""
    rng = np.random.default_rng(seed)
    settings = [(UNSTEERED, -1, "front"), (PLANTED, -1, "all")]
    settings += [(kind, block, "front") for kind in (TOPIC, RANDOM, NOUN) for block in (4, 10)]
    settings += [(kind, 10, "front") for kind in (EMBEDDING, RESCALED)]
    settings += [(kind, 10, align) for kind in (TOPIC, NOUN) for align in ("middle", "back")]
    rows = [
        {"kind": kind, "block": block, "align": align, "prompt": prompt, "draw": draw, "text": "…"}
        | {"mentions": float(rng.random() < shares.get((kind, align), 0.05))}
        | {"loss": losses.get(align if kind == TOPIC else "", 3.0) + rng.normal(0, 0.05)}
        for kind, block, align in settings
        for prompt in range(10)
        for draw in range(20)
    ]
    return Completed(CONCEPT, pd.DataFrame(rows))


STEERED = {(TOPIC, "front"): 0.5, (TOPIC, "back"): 0.9, (PLANTED, "all"): 0.9}


def judged(claim: str, shift: Shift, seen: Power = SEEN) -> str:
    found = {"one": scored(shift)}
    parts = {
        on_topic.CLAIM: lambda: on_topic.run({"passages": found}, 0, seen),
        depth.CLAIM: lambda: depth.run(found, {"one": N_BLOCKS}, 0, seen),
        prompting.CLAIM: lambda: prompting.run(found, {"one": prompted(found["one"])}, 0, seen),
    }
    (verdict,) = parts[claim]().verdicts
    return verdict.verdict


CLAIMS = (on_topic.CLAIM, depth.CLAIM, prompting.CLAIM)


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_the_paper_says_is_reproduced_where_it_is_planted(claim):
    assert judged(claim, as_in_the_paper) == "reproduced"


@pytest.mark.parametrize("claim", CLAIMS)
def test_nothing_is_found_where_nothing_is(claim):
    assert judged(claim, nothing) == "not"
    assert judged(claim, nothing, BLIND) == "not testable here"


@pytest.mark.parametrize("claim", CLAIMS)
def test_the_opposite_contradicts(claim):
    assert judged(claim, mirrored) == "contradicted"


def test_help_that_every_noun_gives_is_no_dissociation():
    def any_noun(text: str, vector: str, kind: str, block: int) -> float:
        return -0.3 if text == "weddings" else 0.0

    assert judged(on_topic.CLAIM, any_noun) == "not"


def test_one_noun_that_dissociates_as_well_leaves_the_claim_partly():
    def one_noun(text: str, vector: str, kind: str, block: int) -> float:
        like = vector == NOUNS[2]
        return as_in_the_paper(text, " weddings", TOPIC, block) if like else as_in_the_paper(text, vector, kind, block)

    found = scored(one_noun)
    controls = {one.control_name: one for one in on_topic.measure_all("one", found, "weddings", 0)}
    assert controls[f"the most extreme noun,{NOUNS[2]}"].low < 0
    assert judged(on_topic.CLAIM, one_noun) == "partly"


def test_the_block_of_a_dissociation_is_chosen_on_the_other_half():
    values = np.zeros((8, 3))
    values[::2, 0], values[1::2, 2] = -5, -1  # each half has a best block of its own
    assert on_topic.cross_fitted(values).tolist() == [0.0] * 8


def test_prompting_that_is_not_the_vector_at_block_0_shows_in_the_error():
    found = scored(as_in_the_paper)
    table = prompted(found)
    assert prompting.identity_error(found, table) == 0
    assert prompting.identity_error(found, table.assign(loss=table["loss"] + 0.25)) == pytest.approx(0.25)


def test_a_planted_gain_is_found_where_sentences_agree_and_not_in_noise():
    quiet = scored(nothing)
    assert power.of_passages({"one": quiet}, 0).found
    noise = np.random.default_rng(1).normal(0, 2, len(quiet.table))
    loud = Scored(TEXTS, quiet.table.assign(loss=quiet.table["loss"] + noise))
    assert not power.of_passages({"one": loud}, 0).found


# --- coefficients -----------------------------------------------------------------------------------------------------


def curves(shift: Callable[[str, float, int], float]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"topic": text, "sentence": sentence, "vector": name, "kind": kind, "block": block, "coefficient": c}
        | {"align": "front", "tokens": 15, "clean": 3.0, "dose": c}
        | {"loss": 3 + shift(kind, c, block) + rng.normal(0, 0.01)}
        for text in TEXTS.topics
        for sentence in range(12)
        for name, kind in [(TEXTS.words[0], TOPIC), (TEXTS.words[1], TOPIC), ("random 0", RANDOM)]
        for block in (4, 10)
        for c in (1.0, 2.0, 3.0)
    ]
    return pd.DataFrame(rows)


def test_early_harm_of_large_coefficients_is_found():
    table = curves(lambda kind, c, block: 0.1 * (c - 1) if block == 4 and kind == TOPIC else 0.0)
    (verdict,) = strength.run({"one": table}, TEXTS, 0, SEEN).verdicts
    assert verdict.verdict == "reproduced"
    assert strength.harmful_from(table, "shipping", " weddings", 4) == 2
    assert strength.harmful_from(table, "shipping", " weddings", 10) == float("inf")
    (none,) = strength.run({"one": curves(lambda *_: 0.0)}, TEXTS, 0, SEEN).verdicts
    assert none.verdict == "not"


# --- completions ------------------------------------------------------------------------------------------------------


def test_steered_completions_are_told_from_controls():
    good = completed(STEERED, {"back": 5.0})
    one, place = steering.run({"one": {CONCEPT.name: good}}, 0).verdicts
    assert (one.verdict, place.verdict) == ("reproduced", "reproduced")
    null = completed({(PLANTED, "all"): 0.9}, {})
    one, place = steering.run({"one": {CONCEPT.name: null}}, 0).verdicts
    assert (one.verdict, place.verdict) == ("not", "not")
    one, _ = steering.run({"one": {CONCEPT.name: completed({}, {})}}, 0).verdicts
    assert one.verdict == "not testable here"


def test_a_random_vector_that_does_as_much_leaves_the_claim_partly():
    same = {**STEERED, (RANDOM, "front"): 0.5}
    one, _ = steering.run({"one": {CONCEPT.name: completed(same, {})}}, 0).verdicts
    assert one.verdict == "partly"


def test_the_embedding_must_fall_short_on_texts_and_in_completions():
    found = {"one": scored(as_in_the_paper)}
    (verdict,) = embedding.run(found, {"one": completed(STEERED, {})}, 0, SEEN).verdicts
    assert verdict.verdict == "reproduced"
    as_good = {**STEERED, (EMBEDDING, "front"): 0.5, (RESCALED, "front"): 0.5}
    (verdict,) = embedding.run(found, {"one": completed(as_good, {})}, 0, SEEN).verdicts
    assert verdict.verdict == "partly"


@pytest.mark.parametrize(
    ("text", "found"),
    [("A Wedding.", True), ("weddings", True), ("They wed", True), ("on Wednesday", False), ("bridegroom", False)],
)
def test_words_are_counted_whole(text, found):
    assert mentions(text, CONCEPT.words) is found


# --- pairs ------------------------------------------------------------------------------------------------------------


def pairs(gain: Callable[[str, int], float]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"arm": arm, "prompt": prompt, "pair": f"pair {number}", "harm": 1 - gain(arm, number)}
        | {"gain": gain(arm, number) + rng.normal(0, 0.01)}
        for number in range(12)
        for arm in opposites.ARMS
        for prompt in range(5)
    ]
    return pd.DataFrame(rows)


def test_always_asks_for_every_pair():
    always = pairs(lambda arm, _number: float(arm == opposites.PAIRED))
    (verdict,) = opposites.run({"one": always}, 0, SEEN).verdicts
    assert verdict.verdict == "reproduced"
    mostly = pairs(lambda arm, number: float((arm == opposites.PAIRED) == (number > 0)))
    (verdict,) = opposites.run({"one": mostly}, 0, SEEN).verdicts
    assert verdict.verdict == "partly"
    assert "11 of 12 pairs" in verdict.reason
    never = pairs(lambda arm, _number: float(arm == opposites.ALONE))
    (verdict,) = opposites.run({"one": never}, 0, SEEN).verdicts
    assert verdict.verdict == "contradicted"


# --- texts and scores -------------------------------------------------------------------------------------------------


def test_the_passages_keep_to_their_topics():
    assert len(WEDDINGS) == len(SHIPPING) == 28
    assert len(set(WEDDINGS) | set(SHIPPING)) == 56
    assert not any(mentions(one, [*CONCEPT.words, "vows", "guests", "church"]) for one in SHIPPING)
    assert not any(mentions(one, ["ship", "ships", "cargo", "vessel", "port", "sea", "freight"]) for one in WEDDINGS)
    nouns = [noun.strip() for noun in NEUTRAL_NOUNS]
    assert len(set(nouns)) == len(nouns) >= 20
    assert len({pair.positive for pair in OPPOSITES}) >= 10
    assert all(len(concept.prompts) == 10 for concept in CONCEPTS)
    assert not any(mentions(prompt, concept.words) for concept in CONCEPTS[:1] for prompt in concept.prompts)


def test_sentences_of_an_article_are_whole_and_neither_short_nor_long():
    text = (
        "Shares fell by 3.5% in early trade after the bank cut its forecast for the year. He left. "
        'The chairman said: "We did what we could in a very hard year" to all of us. '
        "The club signed two players from Spain for an undisclosed fee before the window closed."
    )
    found = sentences_of(Document("business", "t", text))
    assert [one.split()[0] for one in found] == ["Shares", "The"]
    assert found[1].endswith("closed.")


def test_only_tokens_that_no_vector_covers_are_scored():
    model = load_toy("llama")
    prompts = [[BEGIN, SPACE, *TEXT], [BEGIN, SPACE, 40, *TEXT]]
    table = losses(model, prompts, [Arm("w", TOPIC, 0, 1.0, vector(model, 0).add())])
    assert table["tokens"].tolist() == [3, 4]
    for row, ids in zip(table.to_dict("records"), ([BEGIN, 20, *TEXT], [BEGIN, 20, 40, *TEXT]), strict=True):
        logs = model.run([ids], logits_at="all").logits[0].log_softmax(-1)
        surprises = [-float(logs[place - 1, ids[place]]) for place in range(3, len(ids))]
        assert row["loss"] == pytest.approx(np.mean(surprises))
        assert row["clean"] != pytest.approx(row["loss"])
    shift = (table["loss"] - table["clean"]) * table["tokens"]
    assert log_ratios(table).mean() == pytest.approx(shift.sum() / table["tokens"].sum())


def test_the_study_is_listed_with_eight_claims():
    claims = [claim for claim in all_claims() if claim.startswith("actadd-")]
    assert claims == [f"actadd-{number}" for number in range(1, 9)]
