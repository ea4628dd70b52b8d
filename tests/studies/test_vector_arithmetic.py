"""Each measure of the vector arithmetic study finds what is planted, and finds nothing where nothing is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import rheostat as rh
from rheostat.data.relations import COUNTRIES
from rheostat.metrics.statistics import Values
from rheostat.studies.power import fewest, would_be_seen
from rheostat.studies.study import Context
from rheostat.studies.vector_arithmetic import (
    analogies,
    cutting,
    depth,
    insertion,
    knowing,
    phases,
    reuse,
    same_facts,
    settling,
    top_removed,
    top_tokens,
)
from rheostat.studies.vector_arithmetic.contexts import RivalRank, repetition
from rheostat.studies.vector_arithmetic.fact_versions import (
    ABSTRACTIVE,
    ASKING,
    EXTRACTIVE,
    SAYING,
    VERSIONS,
    WRONG,
    Version,
    versions,
)
from rheostat.studies.vector_arithmetic.questions import (
    CAPITALS,
    IN,
    Asked,
    is_regular_past,
    rivals,
    usable,
    with_states,
)
from rheostat.studies.vector_arithmetic.reading import ATTENTION, MID, MLP, POST, by_block, lens_ranks
from rheostat.studies.vector_arithmetic.updates import (
    ADDED,
    BEFORE,
    CONTROLS,
    EXTRACTED,
    NONE,
    REPLACED,
    SHUFFLED,
    WAYS,
    Update,
    cells,
    extract,
    plan,
)
from rheostat.studies.vector_arithmetic.word_vectors import (
    ALONE,
    MISMATCHED,
    OFFSET,
    OTHER_RELATION,
    Analogy,
    nearest,
    queries,
)
from rheostat.tasks.pairs import Pair
from tests.contract.conftest import load_toy, word_tokenizer

# --- orders over blocks -----------------------------------------------------------------------------------------------

N_BLOCKS = 12
FORMED = np.array([[9, 8, 1, 1, 2, 3], [9, 1, 1, 2, 4, 5], [9, 8, 7, 6, 5, 4]], dtype=float)
ANSWERED = np.array([[9, 8, 7, 3, 1, 1], [9, 8, 1, 2, 1, 1], [9, 8, 7, 6, 5, 1]], dtype=float)


def test_the_takeover_is_the_first_block_that_leads() -> None:
    assert phases.takeover(ANSWERED).tolist() == [4, 2, 5]
    assert phases.takeover(FORMED).tolist() == [2, 1, 6]


def test_an_argument_counts_only_if_it_leads_before_an_answer_that_leads() -> None:
    assert phases.leads_before(FORMED, ANSWERED).tolist() == [1, 1, 0]
    assert phases.leads_before(ANSWERED, FORMED).tolist() == [0, 0, 0]
    assert phases.leads_before(FORMED, np.full_like(FORMED, 3)).tolist() == [0, 0, 0]


def test_peaks_are_compared_by_rank_where_nothing_leads() -> None:
    assert phases.peaks_before(FORMED, ANSWERED).tolist() == [1, 1, 0.5]
    assert phases.peaks_before(ANSWERED, FORMED).tolist() == [0, 0, 0.5]


def test_who_is_ahead_is_read_where_one_of_both_first_ranks_high() -> None:
    far = np.full((3, 2), 5000.0)
    argument = np.concatenate([far, [[20, 30], [90, 1], [4000, 4000]]], axis=1)
    answer = np.concatenate([far - 10, [[80, 1], [50, 2], [300, 200]]], axis=1)
    assert phases.ahead_at_first(argument, answer).tolist() == [1, 0, 0.5]
    assert phases.ahead_at_first(answer, argument).tolist() == [0, 1, 0.5]


def test_an_answer_stays_only_if_nothing_follows_it() -> None:
    assert phases.stays(ANSWERED[:2]).tolist() == [1, 0]
    assert phases.stays(FORMED).tolist() == [0, 0]


def test_an_answer_of_the_last_block_or_of_none_has_nothing_to_stay_for() -> None:
    assert phases.stays(ANSWERED).tolist() == [1, 0]
    assert phases.stays(np.full((2, 4), 9.0)).tolist() == []
    late = phase_table(0.5, n=4)
    late.loc[late["block"] < N_BLOCKS - 1, "answer"] = 50
    assert top_tokens.staying("toy", late, 0) == []
    (kept,) = top_tokens.staying("toy", phase_table(0.5, n=4), 0)
    assert (kept.effect, kept.n) == (1.0, 4)


def test_shuffled_blocks_have_no_order() -> None:
    mean = phases.shuffled(phases.peaks_before, FORMED[:2], ANSWERED[:2] + 0.0, 0)
    assert np.all(mean < 0.85)
    assert np.all(phases.peaks_before(FORMED[:2], ANSWERED[:2]) > mean)


def phase_table(formed: float, seed: int = 0, n: int = 40) -> pd.DataFrame:
    """Prompts, a share of which puts the argument on top at blocks 6 to 8 and the answer from 9 on."""
    rng, rows = np.random.default_rng(seed), []
    for prompt in range(n):
        forms = prompt < formed * n
        for block in range(N_BLOCKS):
            noise = rng.integers(200, 5000, size=4).tolist()
            if forms and 6 <= block <= 8:
                noise[0] = 1
            if block >= 9:
                noise[1] = 1
            for kind in (POST, ATTENTION, MLP):
                shared = {"prompt": prompt, "kind": kind, "block": block, "top": 0, "task": "toy"}
                rows.append({**shared, **dict(zip(top_tokens.NAMES, noise, strict=True))})
    return pd.DataFrame(rows)


def test_phases_are_found_where_they_are_and_nowhere_else() -> None:
    found = top_tokens.measure_all("toy", phase_table(0.9), 0)
    assert found[0].effect == pytest.approx(0.9)
    assert all(one.low > 0 for one in found)
    none = top_tokens.measure_all("toy", phase_table(0.0), 0)
    assert none[0].effect == 0
    assert none[0].low <= 0
    assert none[2].high < 0


def test_a_model_that_answers_at_the_last_block_alone_is_not_said_to_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, late = load_toy("llama"), phase_table(0.5)
    late.loc[late["block"] < N_BLOCKS - 1, "answer"] = 50
    for table, named in ((late, True), (phase_table(0.5), False)):
        monkeypatch.setattr(top_tokens, "measure", lambda model, context, table=table: table)
        part = top_tokens.run(Context((model,), True, 0, tmp_path, show_progress=False))
        asked = [one for one in part.verdicts[0].measurements if "at every block" in one.quantity]
        assert (f"no two such prompts on {model.name}" in part.verdicts[0].reason) == named
        assert len(asked) == (not named)


def test_only_answered_prompts_are_judged() -> None:
    table = phase_table(0.5, n=4)
    table.loc[(table["prompt"] == 2) & (table["block"] == N_BLOCKS - 1), "answer"] = 2
    assert sorted(top_tokens.right(table)["prompt"].unique()) == [0, 1, 3]


def test_a_wide_scatter_could_not_have_shown_an_effect() -> None:
    ms = top_tokens.measure_all("toy", phase_table(0.5, n=40), 0)
    assert would_be_seen(ms, 0.25) == len(ms)
    few = top_tokens.measure_all("toy", phase_table(0.5, n=4), 0)
    assert would_be_seen(few, 0.25) < len(few)


def test_few_units_that_are_all_alike_could_not_have_shown_an_effect() -> None:
    assert (fewest(0.5), fewest(0.25), fewest(0.1)) == (5, 11, 29)
    none = top_tokens.measure_all("toy", phase_table(0.0, n=40), 0)[:1]
    assert none[0].low == none[0].high == 0
    assert would_be_seen(none, 0.25) == 1
    assert would_be_seen(top_tokens.measure_all("toy", phase_table(0.0, n=10), 0)[:1], 0.25) == 0


# --- reading ----------------------------------------------------------------------------------------------------------


def test_ranks_under_the_lens_are_those_of_one_prompt_alone() -> None:
    model = load_toy("llama")
    prompts = ["w5 w6 w7", "w8 w9"]
    table = lens_ranks(
        model, prompts, [{"answer": (6,), "both": (6, 7)}, {"answer": (9,), "both": (9, 10)}], (POST, MLP)
    )
    for number, (prompt, answer) in enumerate(zip(prompts, (6, 9), strict=True)):
        for kind in (POST, MLP):
            acts = model.capture(prompt, [f"blocks.{b}.{kind}" for b in range(model.n_blocks)], "last")
            for block in range(model.n_blocks):
                logits = model.unembed(acts[f"blocks.{block}.{kind}"][0, 0])
                order = logits.argsort(descending=True).tolist()
                assert by_block(table, "answer", kind)[number, block] == order.index(answer) + 1
                best = min(order.index(answer), order.index(answer + 1)) + 1
                assert by_block(table, "both", kind)[number, block] == best


# --- the update -------------------------------------------------------------------------------------------------------

ARGUMENTS, N_ARGUMENTS, WIDTH, AXIS = range(4, 10), 6, 16, 15
ANSWER_OF = {one: one + 10 for one in ARGUMENTS}
STEP = 2.0


def planted_model(step: float) -> rh.Model:
    """Two blocks without attention; the MLP of the second adds one offset, which turns arguments into answers."""
    config = GPT2Config(
        vocab_size=64, n_embd=WIDTH, n_layer=2, n_head=2, n_positions=32, bos_token_id=1, eos_token_id=2, pad_token_id=0
    )
    network = GPT2LMHeadModel(config).double().eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "ln_" not in name:
                parameter.zero_()
        table = network.transformer.wte.weight
        for number, argument in enumerate(ARGUMENTS):
            table[argument, number] = 1.0
            table[ANSWER_OF[argument], number] = 0.9
            table[ANSWER_OF[argument], AXIS] = STEP
        network.transformer.h[1].mlp.c_proj.bias[AXIS] = step
    return rh.load(network, tokenizer=word_tokenizer())


def planted_questions() -> list[Asked]:
    return [Asked("toy", Pair(f"w{a}", f"w{ANSWER_OF[a]}"), f"w30 w{a}", (a,), ANSWER_OF[a]) for a in ARGUMENTS]


def read(model: rh.Model, listed: Sequence[Asked]) -> pd.DataFrame:
    named = [{"argument": one.argument, "answer": (one.answer,)} for one in listed]
    table = lens_ranks(model, [one.prompt for one in listed], named, (POST, MID))
    questions = dict(enumerate(one.pair.question for one in listed))
    return table.assign(task="toy", question=table["prompt"].map(questions))


def test_the_extracted_update_is_the_planted_offset() -> None:
    model, listed = planted_model(STEP), planted_questions()
    table = read(model, listed)
    assert phases.leads_before(by_block(table, "argument"), by_block(table, "answer")).tolist() == [1.0] * N_ARGUMENTS
    assert knowing.by_mlp(by_block(table, "answer", MID), by_block(table, "answer")).tolist() == [1.0] * N_ARGUMENTS
    update = extract(model, listed, table, 3)
    assert update is not None
    assert update.block == 1
    offset = torch.zeros(WIDTH, dtype=torch.float64)
    offset[AXIS] = STEP
    assert torch.equal(update.vectors, offset.expand(3, WIDTH))
    assert torch.equal(update.before, torch.zeros(3, WIDTH, dtype=torch.float64))


def test_a_task_that_is_never_answered_has_no_update() -> None:
    listed = planted_questions()
    assert extract(planted_model(0.0), listed, top_tokens.right(read(planted_model(0.0), listed)), 3) is None


@pytest.mark.parametrize("way", WAYS)
def test_the_planted_offset_turns_every_argument_into_its_answer_and_its_shuffle_none(way: str) -> None:
    with_step, without, listed = planted_model(STEP), planted_model(0.0), planted_questions()
    update = extract(with_step, listed, read(with_step, listed), 1)
    assert update is not None
    turned = torch.roll(update.vectors[0], -1)
    for one in listed:
        for vector, expected in ((update.vectors[0], one.answer), (turned, one.argument[0])):
            logits = without.run(one.prompt, plan(vector, update.block, 2, way)).logits[0, 0]
            assert int(logits.argmax()) == expected


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2"])
def test_an_mlp_output_replaced_by_itself_changes_nothing(name: str) -> None:
    model, prompt = load_toy(name), "w5 w6 w7 w8"
    site = "blocks.2.mlp_out"
    own = model.capture(prompt, [site, "blocks.2.resid_mid", "blocks.2.resid_post"])
    before = model.run(prompt).logits
    assert torch.equal(model.run(prompt, plan(own[site][0, -1], 2, 3, REPLACED)).logits, before)
    assert not torch.allclose(model.run(prompt, plan(own[site][0, 0], 2, 3, REPLACED)).logits, before)
    torch.testing.assert_close(own["blocks.2.resid_mid"] + own[site], own["blocks.2.resid_post"])


def test_cells_hold_every_control_in_both_ways() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(4, 8, generator=generator)
    one = Update("a", 1, ("x", "y"), vectors[:2], vectors[2:])
    other = Update("b", 2, ("z",), vectors[3:], vectors[:1])
    found = cells(one, {"a": one, "b": other}, 3, 0)
    labels = [dict(cell.labels) for cell in found]
    assert labels[0] == {"update": NONE, "way": NONE, "source": -1}
    assert len(found) == 1 + 2 * 2 * (1 + len(CONTROLS))
    by_label = {(str(a["update"]), a["source"], a["way"]): cell for a, cell in zip(labels, found, strict=True)}
    (edit,) = by_label[BEFORE, 1, ADDED].edits
    assert torch.equal(edit.source, vectors[3])
    (edit,) = by_label[SHUFFLED, 0, ADDED].edits
    assert torch.equal(edit.source.sort().values, vectors[0].sort().values)
    assert not torch.equal(edit.source, vectors[0])
    assert [str(edit.site) for edit in by_label[EXTRACTED, 0, REPLACED].edits] == [
        "blocks.1.mlp_out",
        "blocks.2.mlp_out",
    ]


# --- contexts and gains -----------------------------------------------------------------------------------------------


def test_a_context_says_the_words_and_the_argument_and_breaks_off_before_the_argument() -> None:
    assert repetition("x", ["a", "b", "c"]) == "a b c x a b c x a b c x a b c"


def test_a_rival_has_another_answer() -> None:
    listed = [Asked("t", Pair(q, a), q, (1,), number) for q, a, number in (("a", "b", 1), ("c", "b", 1), ("d", "e", 2))]
    assert [one.answer for one in rivals(listed)] == [2, 2, 1]
    assert rivals(listed[:2]) == listed[:2]


def test_a_past_tense_is_regular_by_its_form_not_by_its_ending() -> None:
    assert all(is_regular_past(Pair(*one)) for one in (("walk", "walked"), ("bake", "baked"), ("cry", "cried")))
    assert is_regular_past(Pair("stop", "stopped"))
    assert not any(is_regular_past(Pair(*one)) for one in (("lead", "led"), ("feed", "fed"), ("go", "went")))


def test_a_name_of_a_country_and_a_state_is_not_asked() -> None:
    names = [one.question for one in with_states([Pair("Georgia", "Tbilisi"), Pair("France", "Paris")])]
    assert names[0] == "France"
    assert "Texas" in names
    assert "Georgia" not in names


def test_the_rival_rank_is_a_rank_with_a_column_of_its_own() -> None:
    model = load_toy("gpt2")
    table = model.sweep(["w5 w6"], [()], [rh.Rank([7]), RivalRank([7])], progress=False)
    assert table["rank"].tolist() == table["rival_rank"].tolist()


def insertions(rank_then: float, rival_then: float = 10.0, n: int = 12) -> pd.DataFrame:
    """Contexts, two per argument, whose answer ranks tenth and then elsewhere; under controls it stays."""
    rows = []
    for number in range(2 * n):
        shared = {"context": number, "argument": f"x{number // 2}", "task": CAPITALS, "domain": IN, "block": 3}
        rows.append({**shared, "update": NONE, "way": NONE, "source": -1, "rank": 10.0, "rival_rank": 10.0})
        for way in WAYS:
            for update in (EXTRACTED, *CONTROLS, insertion.PLANTED):
                rank, rival = (rank_then, rival_then) if update == EXTRACTED else (10.0 + number % 3, 10.0)
                then = 1.0 if update == insertion.PLANTED else rank
                rows.append({**shared, "update": update, "way": way, "source": 0, "rank": then, "rival_rank": rival})
    return pd.DataFrame(rows)


def test_gains_are_means_of_reciprocal_ranks_per_argument() -> None:
    assert insertion.gain(insertions(2.0), EXTRACTED, REPLACED) == pytest.approx(np.full(12, 0.4))
    table = insertions(2.0)
    table.loc[(table["context"] == 0) & (table["update"] == EXTRACTED), "rank"] = 10.0
    assert insertion.gain(table, EXTRACTED, ADDED)[0] == pytest.approx(0.2)
    assert insertion.ranks(table, EXTRACTED, ADDED)[:2].tolist() == [10.0, 2.0]


def test_a_gain_that_another_answer_shares_is_no_gain_of_the_answer() -> None:
    own = reuse.measure_all("toy", (CAPITALS, IN), insertions(2.0), REPLACED, 0)
    assert all(one.low > 0 for one in own)
    shared = reuse.measure_all("toy", (CAPITALS, IN), insertions(2.0, 2.0), REPLACED, 0)
    assert [one.low > 0 for one in shared] == [True, True, True, True, False]
    assert shared[-1].control_name == reuse.RIVAL
    none = reuse.measure_all("toy", (CAPITALS, IN), insertions(20.0), REPLACED, 0)
    assert all(one.high < 0 for one in none)


def test_the_planted_update_decides_whether_a_null_counts() -> None:
    table = insertions(2.0)
    assert reuse.planted_found([table], 0)
    table.loc[table["update"] == insertion.PLANTED, "rank"] = 10.0
    assert not reuse.planted_found([table], 0)
    without = table[table["update"] != insertion.PLANTED]
    assert not reuse.planted_found([insertions(2.0), without], 0)
    assert not reuse.planted_found([], 0)


def test_one_argument_alone_is_left_out() -> None:
    assert reuse.parts_of(insertions(2.0, n=1)) == {}
    assert list(reuse.parts_of(insertions(2.0))) == [(CAPITALS, IN)]


# --- known and copied facts -------------------------------------------------------------------------------------------


def spelling_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are whole words with their space, for the words of the facts."""
    before = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = ["a b", *ASKING.values(), *SAYING.values(), "Q: A:\n", "\nA:", "\nQ:", ". x.\n"]
    texts += [f" {word}\n{word}" for one in COUNTRIES for word in (one.name, one.capital, one.language, one.continent)]
    words = dict.fromkeys(piece for text in texts for piece, _ in before.pre_tokenize_str(text))
    vocabulary = {word: number for number, word in enumerate(["<unk>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = before
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def test_versions_of_a_fact_ask_the_same_and_differ_in_what_the_context_says() -> None:
    model = rh.load(load_toy("gpt2").module, tokenizer=spelling_tokenizer())
    listed = versions(model, 40, 0)
    assert [one.version for one in listed] == [*VERSIONS] * 40
    assert {one.relation for one in listed} == set(ASKING)
    for known, copied, wrong in zip(listed[::3], listed[1::3], listed[2::3], strict=True):
        assert copied.prompt.endswith(known.prompt)
        assert wrong.prompt.endswith(known.prompt)
        assert (copied.answer, copied.rival) == (known.answer, known.rival) == (wrong.rival, wrong.answer)
        answer, other = (model.tokens.text(one).strip() for one in (known.answer, known.rival))
        asked = known.prompt.split("\n")[-2]
        assert known.subject in asked
        assert answer not in known.prompt
        assert other not in known.prompt
        assert answer in copied.prompt
        assert other in wrong.prompt.split("\n")[0]
        assert answer not in wrong.prompt


def test_pairs_whose_answer_begins_like_the_argument_are_not_usable() -> None:
    model = rh.load(load_toy("gpt2").module, tokenizer=spelling_tokenizer())
    assert usable(model, Pair("Poland", "Warsaw"))
    assert not usable(model, Pair("Poland", "Poland"))
    assert not usable(model, Pair("South Africa", "Pretoria"))


def version_table(step: float, n: int = 40) -> pd.DataFrame:
    """Facts, a share of which takes the function step in the abstractive version; one in four fails there."""
    rows = []
    for fact in range(n):
        for version in VERSIONS:
            steps = version == ABSTRACTIVE and fact % 10 < 10 * step
            for block in range(N_BLOCKS):
                for kind in (MID, POST):
                    late = block >= 8 if kind == POST or not steps else block >= 9
                    answer = 1 if late and not (version == ABSTRACTIVE and fact % 4 == 3) else 50
                    argument = 1 if steps and 5 <= block < 8 else 60
                    shared = {"fact": fact, "version": version, "kind": kind, "block": block}
                    rows.append({**shared, "argument": argument, "answer": answer, "rival": 70})
    return pd.DataFrame(rows)


def test_a_function_step_of_known_facts_alone_is_found() -> None:
    found = knowing.measure_all("toy", version_table(0.5), 0)
    assert all(one.low > 0 for one in found)
    assert [one.control_name for one in found] == [EXTRACTIVE, EXTRACTIVE, WRONG, WRONG, EXTRACTIVE, WRONG]
    none = knowing.measure_all("toy", version_table(0.0), 0)
    assert [one.low > 0 for one in none] == [False] * 4 + [True] * 2


def test_steps_are_compared_on_facts_that_both_versions_answer() -> None:
    both = knowing.answered(version_table(0.5), ABSTRACTIVE, EXTRACTIVE)
    assert both["fact"].nunique() == 30


# --- removal ----------------------------------------------------------------------------------------------------------


def test_removals_take_the_last_blocks_and_as_many_at_random() -> None:
    listed = cutting.removals(18, 0, quick=False)
    assert listed[0].sites == ()
    (top,) = [one for one in listed if one.group == cutting.TOP_MLPS and one.sixths == 1]
    assert top.sites == ("blocks.15.mlp_out", "blocks.16.mlp_out", "blocks.17.mlp_out")
    (whole,) = [one for one in listed if one.group == cutting.WHOLE and one.sixths == 1]
    assert len(whole.sites) == 6
    random = [one for one in listed if one.group == cutting.RANDOM_MLPS and one.sixths == 1]
    assert len({one.sites for one in random}) == cutting.DRAWS
    assert all(len(one.sites) == 3 for one in random)


def cut_table(known: float, n: int = 30, rank: float = 4.0) -> pd.DataFrame:
    """Facts, a share of which is lost in the abstractive version alone without the top MLPs or whole blocks."""
    rows = []
    for fact in range(n):
        for version in VERSIONS:
            shared = {"fact": fact, "version": version, "loss": 3.0, "rival_rank": 9.0}
            rows.append({**shared, "group": cutting.NOTHING, "sixths": 0, "draw": 0, "rank": 1.0})
            for group in (cutting.TOP_MLPS, cutting.TOP_ATTENTION, cutting.WHOLE, cutting.RANDOM_MLPS):
                for sixths in (1, 2):
                    hurt = version == ABSTRACTIVE and fact < known * n and group in (cutting.TOP_MLPS, cutting.WHOLE)
                    shared_cell = {"group": group, "sixths": sixths, "draw": 0}
                    rows.append({**shared, **shared_cell, "rank": rank if hurt else 1.0})
    return pd.DataFrame(rows)


def test_a_loss_of_known_facts_alone_is_found_by_accuracy_and_by_rank() -> None:
    for by_rank, size in ((False, 0.5), (True, 0.375)):
        found = top_removed.measure_all("toy", cut_table(0.5), 0, by_rank=by_rank)
        assert [one.effect for one in found] == pytest.approx([size] * 4)
        assert all(one.low > 0 for one in found)
    none = top_removed.measure_all("toy", cut_table(0.0), 0)
    assert all(one.low == one.high == 0 for one in none)


def damaged(rises: Sequence[float], n: int = 6) -> pd.DataFrame:
    rows = []
    for fact in range(n):
        shared = {"fact": fact, "version": ABSTRACTIVE}
        rows.append({**shared, "window": -1, "share": 0.0, "rank": 1.0, "loss": 2.0})
        for place, rise in enumerate(rises, 1):
            rows.append({**shared, "window": 0, "share": place / 2, "rank": 1.0 + place, "loss": 2.0 + rise})
    return pd.DataFrame(rows)


def test_losses_are_read_at_equal_damage() -> None:
    assert depth.at_damage(damaged((0.25, 0.75)), 0, ABSTRACTIVE, 0.5) == pytest.approx(np.full(6, (1 / 2 + 2 / 3) / 2))
    assert depth.at_damage(damaged((1.0, 2.0)), 0, ABSTRACTIVE, 0.5) == pytest.approx(np.full(6, 0.25))
    assert np.isnan(depth.at_damage(damaged((0.1, 0.4)), 0, ABSTRACTIVE, 0.5)).all()


def test_windows_hold_every_block_once() -> None:
    assert [block for window in depth.windows(18, 5) for block in window] == list(range(18))


# --- the same facts ---------------------------------------------------------------------------------------------------


def version(fact: int, prompt: str, answer: int) -> Version:
    return Version(fact, "toy", prompt, ABSTRACTIVE, prompt, (answer - 10,), answer, answer + 1)


def test_patching_finds_the_sublayer_that_differs_and_only_there() -> None:
    model = load_toy("llama")
    one, other = version(0, "w5 w6 w7", 20), version(1, "w8 w9 w10", 25)
    acts = model.capture([one.prompt, other.prompt], "blocks.*.mlp_out", "last")
    own, others = ([acts[f"blocks.{block}.mlp_out"][row, 0] for block in range(model.n_blocks)] for row in (0, 1))
    assert same_facts.patched(model, one, other, MLP, own) == pytest.approx([0.0] * model.n_blocks, abs=1e-9)
    found = same_facts.patched(model, one, other, MLP, others)
    assert all(abs(value) > 1e-4 for value in found)
    logits = model.run(one.prompt, [rh.Replace("blocks.1.mlp_out", others[1], positions="last")]).logits[0, 0]
    clean = model.run(one.prompt).logits[0, 0]
    slow = (clean[20] - clean[25]) - (logits[20] - logits[25])
    assert found[1] == pytest.approx(float(slow), abs=1e-9)


def test_a_fact_is_patched_from_another_answer_of_its_relation() -> None:
    listed = [version(0, "a", 20), version(1, "b", 20), version(2, "c", 21)]
    assert {fact: other.fact for fact, other in same_facts.other_facts(listed).items()} == {0: 2, 1: 2, 2: 0}
    assert same_facts.other_facts(listed[:2]) == {}


def test_the_kind_of_sublayer_that_brings_the_answer_is_told_apart() -> None:
    rng, rows = np.random.default_rng(0), []
    for fact in range(30):
        for kind in (ATTENTION, MLP):
            for block in range(4):
                shared = {"fact": fact, "kind": kind, "block": block}
                strong = kind == ATTENTION and block == 2
                rows.append({**shared, "way": "plain", "said": strong and fact % 2 == 0})
                rows.append({**shared, "effect": 3.0 * strong + float(rng.normal(0, 0.2))})
    found = settling.by_sublayers("toy", pd.DataFrame(rows), version_table(1.0), 0)
    assert [one.low > 0 for one in found] == [True, False, True, True]
    assert found[1].high < 0
    assert found[2].effect == pytest.approx(3.0, abs=0.2)


# --- analogies --------------------------------------------------------------------------------------------------------


def embedded(vectors: Values) -> rh.Model:
    """A network whose input embeddings begin with these rows; all others point elsewhere."""
    model = rh.load(planted_model(0.0).module, tokenizer=word_tokenizer())
    with torch.no_grad():
        table = model.module.get_input_embeddings().weight
        table.zero_()
        table[:, 0] = -1.0
        table[: len(vectors)] = torch.from_numpy(vectors)
    return model


def test_planted_analogies_are_answered_only_by_their_own_offset() -> None:
    rng = np.random.default_rng(0)
    bases, step, other = rng.normal(size=(6, WIDTH)), np.zeros(WIDTH), np.zeros(WIDTH)
    step[1], other[2] = 6.0, 6.0
    near = bases + 0.1 * rng.normal(size=bases.shape)
    vectors = np.concatenate([bases[:3], bases[:3] + step, bases[3:], bases[3:] + other, near])
    model = embedded(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    relations = {"first": [(0, 3), (1, 4), (2, 5)], "second": [(6, 9), (7, 10), (8, 11)]}
    asked = [Analogy("first", 0, 3, 1, 4), Analogy("first", 1, 4, 2, 5), Analogy("second", 6, 9, 7, 10)]
    tables = {}
    for way, wanted in queries(model, asked, relations, 0).items():
        tables[way] = analogies.rows(asked, nearest(model, wanted, range(18)).tolist())
    assert tables[OFFSET][analogies.LEFT_OUT].mean() == 1
    assert tables[ALONE][analogies.LEFT_OUT].mean() == 0
    assert tables[OTHER_RELATION][analogies.LEFT_OUT].mean() == 0
    assert set(tables) == {OFFSET, ALONE, OTHER_RELATION, MISMATCHED}


def test_question_words_are_left_out_by_one_rule_alone() -> None:
    asked = [Analogy("r", 1, 2, 3, 4)] * 3
    found = analogies.rows(asked, [[3, 1, 4, 9], [4, 3, 1, 2], [3, 8, 4, 9]])
    assert found[analogies.LEFT_OUT].tolist() == [1, 1, 0]
    assert found[analogies.KEPT].tolist() == [0, 1, 0]


def test_the_source_word_alone_decides_only_where_it_can_answer() -> None:
    asked = [Analogy("r", 1, 2, 3 + number, 4) for number in range(3)]
    tables = [analogies.rows(asked, [[9, 1, 4, 5]] * 3).assign(way=way) for way in (OFFSET, *analogies.CONTROLS)]
    found = [one for one in analogies.measure_all("toy", pd.concat(tables), 0) if analogies.decides(one)]
    assert [(analogies.KEPT in one.quantity, one.control_name) for one in found] == [
        (False, ALONE),
        (False, OTHER_RELATION),
        (True, OTHER_RELATION),
    ]


# --- a real network ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_country_leads_before_its_capital_in_gemma() -> None:
    model = rh.load("gemma3-270m")
    prompt = "The capital of France is Paris.\nThe capital of Australia is"
    named = {"argument": (model.token_id(" Australia"),), "answer": (model.token_id(" Sydney"),)}
    table = lens_ranks(model, [prompt], [named], (POST,))
    argument, answer = by_block(table, "argument")[0], by_block(table, "answer")[0]
    assert argument.min() == 1
    assert argument.argmin() < answer.argmin()
    site = f"blocks.{model.n_blocks - 1}.mlp_out"
    own = model.capture(prompt, site, "last")[site][0, 0]
    before = model.run(prompt).logits
    assert torch.equal(model.run(prompt, rh.Replace(site, own, positions="last")).logits, before)
