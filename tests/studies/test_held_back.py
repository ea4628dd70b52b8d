"""The study of a served impairment answers as a server does, and finds what is planted: rash rules, leaks, slowness."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rheostat.data.neutral_prompts import NEUTRAL_PROMPTS
from rheostat.edit.plan import Plan
from rheostat.evaluation.protocol import Protocol
from rheostat.impairment.dial import Dial
from rheostat.model import Model, load
from rheostat.models.toy import toy
from rheostat.serve.plans import served_plan
from rheostat.serve.service import make_dial
from rheostat.serve.settings import ImpairmentSettings, Settings
from rheostat.studies.held_back import attacks, cost, level_table, pilot, recovery, replays, stepping_down
from rheostat.studies.held_back import recovered as recovered_answers
from rheostat.studies.held_back.abilities import ability
from rheostat.studies.held_back.attacks import completions
from rheostat.studies.held_back.questions import Question, questions
from rheostat.studies.held_back.replays import Answers, Setting, Table, repeat, without_bounds
from rheostat.studies.held_back.served import Request, Served, batches, serve
from rheostat.studies.held_back.stepping_down import Budget
from rheostat.studies.held_back.votes import answer_in, by_number, elected, recovered
from rheostat.tasks.item import Item
from rheostat.tasks.pairs import Pair

LEVELS = (1.0, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0.0)
SMALL = Budget(repeats=80, tables=10, each=15)


@pytest.fixture(scope="module")
def model() -> Model:
    words = sorted({word for text in NEUTRAL_PROMPTS for word in text.split()} | {f"w{n}" for n in range(20)})
    vocabulary = {word: number for number, word in enumerate(["<unk>", *words[:63]])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    return load(toy("llama", dtype=torch.float64), tokenizer=fast)


@pytest.fixture(scope="module")
def served(model: Model) -> Served:
    return serve(model, "gaussian", 0)


PROMPTS = tuple(" ".join(text.split()[:n]) for n, text in enumerate(NEUTRAL_PROMPTS[:6], 2))


def question(n: int) -> Question:
    first = PROMPTS[n]
    return Question(Pair("a", "b"), first, (f"The {first}", f"My {first}"), (f"When {first}",), f"best {first}")


# --- what a server would answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["gaussian", "magnitude"])
def test_the_plan_of_a_request_is_the_servers(model: Model, mode: str):
    one = serve(model, mode, 3)
    settings = Settings(impairment=ImpairmentSettings(mode=mode))  # type: ignore[arg-type]
    dial = make_dial(model, settings)
    row = model.row(PROMPTS[0])
    for level in (0.0, 0.4, 1.0):
        seed = one.draws.noise("key", row.ids, 2)
        wanted = served_plan(Plan(), dial, level * settings.impairment.most, seed, row)
        assert one.plan(Request(PROMPTS[0], 3, level, 2, "key"), row.ids).fingerprint() == wanted.fingerprint()


def test_requests_in_batches_get_what_each_gets_alone(served: Served, monkeypatch: pytest.MonkeyPatch):
    asked = [
        Request(prompt, 1 + n, level, draw, "key")
        for n, prompt in enumerate(PROMPTS)
        for level in (0.0, 0.5)
        for draw in (0, 1)
    ]
    monkeypatch.setattr("rheostat.studies.held_back.served.MAX_TOKEN_ROWS", 60)
    together = served.answers(asked)
    assert together == [served.answers([one])[0] for one in asked]
    assert all(len(found.ids) <= one.n_new for one, found in zip(asked, together, strict=True))
    assert len({found.text for found in together}) > len(PROMPTS)


def test_batches_hold_every_row_once_and_keep_within_the_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("rheostat.studies.held_back.served.MAX_TOKEN_ROWS", 100)
    sizes = [(1 + n % 4, 3 + 7 * n % 40) for n in range(50)] + [(90, 90)]
    found = list(batches(sizes))
    assert sorted(place for batch in found for place in batch) == list(range(51))
    assert all(len(one) == 1 or len(one) * max(sum(sizes[place]) for place in one) <= 100 for one in found)


def test_a_request_asked_again_gets_the_same_noise_and_any_other_prompt_another(served: Served):
    asked = [question(n) for n in range(4)]
    keys = ("first", "second")
    found = {name: completions(served, asked, name, 0.8, keys, 4) for name in attacks.ATTACKS}
    one = found["one request"]
    again = found["the same again"].merge(one, on=["key", "item"])
    assert (again["text_x"] == again["text_y"]).all()
    assert len(found["the same again"]) == 2 * 4 * attacks.N_REPEATS
    other = found["other draws"].merge(one, on=["key", "item"])
    assert len(found["other draws"]) == 2 * 4 * 3
    assert (other["text_x"] != other["text_y"]).any()
    assert (one[one["key"] == "first"]["text"].to_numpy() != one[one["key"] == "second"]["text"].to_numpy()).any()
    assert [len(found[name]) for name in ("fillers", "paraphrases", "more examples")] == [16, 8, 8]


def test_asking_token_by_token_begins_as_one_request_and_draws_anew_behind(served: Served):
    places = [(replace(question(n), pair=Pair("a", "b" * 15)), level, "key") for n in range(6) for level in (0.0, 0.9)]
    whole = served.answers([Request(one.prompt, one.n_new, level, 0, key) for one, level, key in places])
    single = attacks.token_by_token(served, places)
    words = [(one.text.split(), other.split()) for one, other in zip(whole, single, strict=True)]
    assert all(one[:1] == other[:1] for one, other in words)
    intact, impaired = words[::2], words[1::2]
    assert all(one == other for one, other in intact)  # without noise there is nothing to draw
    assert any(one != other for one, other in impaired)


def test_a_thought_stands_in_the_prompt_of_its_answer(served: Served, monkeypatch: pytest.MonkeyPatch):
    seen: list[Request] = []
    answers = Served.answers

    def listen(self: Served, requests: Sequence[Request]) -> list[object]:
        seen.extend(requests)
        return list(answers(self, requests))

    monkeypatch.setattr(Served, "answers", listen)
    monkeypatch.setattr(attacks, "N_THOUGHT", 3)
    attacks.thought_first(served, [(question(0), 0.2, "key")])
    first, then = seen
    thought = answers(served, [first])[0].text
    assert thought.strip() and str(then.prompt).startswith(f"{first.prompt}{thought.rstrip()}")


# --- where to look ----------------------------------------------------------------------------------------------------


def test_the_level_of_a_share_lies_between_the_levels_tried():
    right = {0.0: [1, 1, 1, 1, 0], 0.2: [1, 1, 1, 1, 1], 0.4: [1, 1, 0, 0, 0], 0.6: [0, 0, 0, 0, 1]}
    rows = [
        {"level": level, "item": item, "right": bool(one)}
        for level, own in right.items()
        for item, one in enumerate(own)
    ]
    table = pd.DataFrame(rows)
    assert pilot.level_of(table, 0.75) == pytest.approx(0.3)  # the fifth item is not known, and does not count
    assert pilot.level_of(table, 0.25) == pytest.approx(0.5)
    assert pilot.level_of(table, 0.25, between=False) == 0.6
    assert pilot.level_of(table[table["level"] < 0.5], 0.25) == 0.4


@pytest.mark.parametrize("breaks", [0.008, 0.03, 0.3, 5.0])
def test_a_pilot_looks_closer_where_an_ability_falls(served: Served, breaks: float, monkeypatch: pytest.MonkeyPatch):
    def asked(served: object, items: Sequence[Item], levels: Sequence[float]) -> pd.DataFrame:
        rows = [(level, n, level < float(own.answer) * breaks) for level in levels for n, own in enumerate(items)]
        return pd.DataFrame(rows, columns=["level", "item", "right"])

    monkeypatch.setattr(pilot, "asked", asked)
    found = pilot.curve(served, [Item("", str(0.8 + 0.04 * n)) for n in range(11)], 6)
    levels = sorted(set(found["level"]))
    assert len(levels) == len(pilot.COARSE) + 6
    if breaks < 1:
        assert sum(0.3 * breaks < level < 3 * breaks for level in levels) >= 3
        assert pilot.level_of(found, 0.5) == pytest.approx(breaks, rel=0.35)


def test_the_levels_of_an_evaluation_descend_from_one_to_nothing():
    rows = [{"level": level, "item": n, "right": level < 0.5} for level in (0.0, 0.2, 0.4, 0.6, 0.8) for n in range(4)]
    found = level_table.levels_of(pd.DataFrame(rows), 5)
    assert found[0] == 1.0 and found[-1] == 0.0 and len(found) == 7
    assert found[1] == pytest.approx(1.25 * 0.594, abs=0.01) and 0.38 < found[-2] < 0.45
    assert np.allclose(np.diff(found[1:-1]), -stepping_down.margin_of(found), atol=1e-9)


def test_exchanged_answers_are_wrong_ones():
    own = [f"w{n}" for n in range(10)]
    assert [a == b for a, b in zip(own, level_table.exchanged(own, 0.5), strict=True)] == [False, True] * 5
    assert not any(a == b for a, b in zip(own, level_table.exchanged(own, 1.0), strict=True))


# --- repeated evaluations ---------------------------------------------------------------------------------------------


def planted(n: int = 84, draws: int = 3, *, most: float = 0.9, seed: int = 0) -> Table:
    """Return a table in which items break one after the other as the dial is turned up."""
    rng = np.random.default_rng(seed)
    breaks = rng.uniform(0.02, 0.42, n)
    noise = rng.normal(0, 0.04, (len(LEVELS), n, draws))
    known = rng.random(n) < most
    right = (np.array(LEVELS)[:, None, None] + noise < breaks[:, None]) & known[:, None]
    return Table(LEVELS, right)


def found_in(table: Table, *, deciding: Callable[..., object] | None = None) -> stepping_down.Found:
    half = Table(table.levels, table.right & (np.arange(table.right.shape[1]) % 2 == 1)[:, None])
    none = Table(table.levels, np.zeros_like(table.right))
    return stepping_down.judged_tables("planted", table, half, none, draws=(1,), budget=SMALL, seed=0)


@pytest.fixture(scope="module")
def stepped() -> stepping_down.Found:
    return found_in(planted())


def test_the_rule_keeps_unseen_items_below_and_a_rash_evaluator_does_not(stepped: stepping_down.Found):
    assert all(one.effect >= stepping_down.MARK for one in stepped.deciding)
    assert all(one.effect < 0.85 and one.high < 0 for one in stepped.rash)
    assert stepped.repeats["recommended"].notna().mean() > 0.5  # it is of use too
    assert 0 <= stepped.repeats["above"].mean() < 0.3


def test_the_controls_of_a_planted_curve_hold(stepped: stepping_down.Found):
    assert stepped.far.effect == stepped.flat.effect == 1
    assert stepped.controls_hold
    assert stepping_down.verdict_of({"planted": stepped}) in ("reproduced", "not")


def test_an_unsafe_rule_is_found_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stepping_down, "by_the_rule", without_bounds)
    found = found_in(planted(seed=1))
    assert all(one.high < 0 for one in found.deciding)
    assert stepping_down.verdict_of({"planted": replace(found, flat=replace(found.far, low=0.01))}) == "contradicted"


def test_a_statistic_that_cannot_fail_decides_nothing(stepped: stepping_down.Found):
    blunt = replace(stepped, rash=tuple(replace(one, high=0.01) for one in stepped.rash))
    assert not blunt.controls_hold
    assert stepping_down.verdict_of({"planted": blunt}) == "not testable here"


def test_a_rule_that_always_recommends_the_most_is_safe_and_far_above(stepped: stepping_down.Found):
    def timid(answers: Answers, n: int, protocol: Protocol) -> tuple[float | None, float | None, bool]:
        return 1.0, 0.0, True

    table, setting = planted(), Setting(1, 0.05, (0.2, 0.7))
    found = repeat(table, setting, timid, 40, np.random.default_rng(0))
    assert found["kept"].mean() == 1
    assert found["above"].mean() > 2 * stepped.repeats["above"].mean()


def test_a_rule_is_shown_one_half_and_held_against_the_other():
    n = 20
    right = np.zeros((2, n, 1), dtype=bool)
    right[1, : n // 2] = True  # half of the items are right at the lower level, so the halves add up to ten
    table = Table((0.5, 0.0), right)
    seen: list[int] = []

    def low(answers: Answers, n_seen: int, protocol: Protocol) -> tuple[float | None, float | None, bool]:
        assert n_seen == n // 2 and len(answers[0.0]) == n_seen
        seen.append(sum(answers[0.0].values()))
        return 0.0, 0.0, True

    found = repeat(table, Setting(1, 0.05, (0.2, 0.7)), low, 30, np.random.default_rng(0))
    assert np.allclose(found["unseen"] * (n - n // 2), 10 - np.array(seen))
    assert len(set(seen)) > 3
    assert (found["kept"] == (found["unseen"] < found["threshold"])).all()


def test_halves_share_no_item_and_sets_drawn_anew_differ_as_much():
    rng = np.random.default_rng(0)
    values = planted(84).right[6].mean(axis=1)
    apart = []
    for sets in (replays.halves, replays.drawn_anew):
        pairs = [sets(84, rng) for _ in range(3000)]
        assert all(len(one) == len(other) == 42 for one, other in pairs)
        apart.append(np.std([values[one].mean() - values[other].mean() for one, other in pairs]))
    assert all(not set(one) & set(other) for one, other in (replays.halves(84, rng) for _ in range(20)))
    assert apart[0] == pytest.approx(apart[1], rel=0.06)


def test_a_resampled_table_holds_whole_items():
    table = planted(40)
    again = table.resampled(np.random.default_rng(0))
    items = {tuple(column) for column in table.right.any(axis=2).T.tolist()} | {
        tuple(column) for column in table.right.all(axis=2).T.tolist()
    }
    assert again.right.shape == table.right.shape and not np.array_equal(again.right, table.right)
    assert {tuple(column) for column in Table(LEVELS, again.right[..., :1]).right.any(axis=2).T.tolist()} <= items | {
        tuple(column) for draw in range(3) for column in table.right[..., draw].T.tolist()
    }


def test_the_truly_least_safe_level_counts_only_safe_levels_above_it():
    table = Table((0.4, 0.3, 0.2, 0.1), np.array([[0, 0], [1, 0], [0, 0], [1, 1]], dtype=bool)[..., None])
    assert table.least_safe(0.6) == 0.2
    assert table.least_safe(0.5) == 0.4
    assert Table((0.4,), np.ones((1, 2, 1), dtype=bool)).least_safe(0.5) is None


# --- votes and leaks --------------------------------------------------------------------------------------------------


def test_a_vote_takes_what_came_most_often():
    assert answer_in(" Buenos Aires. The capital") == "Buenos Aires"
    assert answer_in("\nParis\nThe") == "Paris"
    assert elected([" Rome.", " Paris", " Paris, which"]) == ["Paris"]
    assert elected([" Rome", " Paris", "."]) == ["Rome", "Paris"]  # equals; nothing said is no vote
    assert elected(["", "."]) == []


def test_among_equals_a_vote_falls_at_random():
    assert recovered([" Rome", " Paris", " Paris"], "Paris") == 1.0
    assert recovered([" Rome", " Paris", " Oslo"], "Paris") == pytest.approx(1 / 3)
    assert recovered(["", ""], "Paris") == 0.0


def test_a_vote_over_some_is_averaged_over_choices():
    texts = [["a"] * 6 + ["b"] * 3, ["b"] * 9]
    assert by_number(texts, ["a", "a"], 9, orders=5, seed=0).tolist() == [1.0, 0.0]
    one = by_number(texts, ["a", "a"], 1, orders=400, seed=0)
    assert one[0] == pytest.approx(2 / 3, abs=0.08)
    assert by_number(texts, ["a", "a"], 5, orders=400, seed=0)[0] > one[0]


def answers_where(shares: Mapping[str, float], n: int = 24, *, seed: int = 0) -> pd.DataFrame:
    """Return completions that are right at the rates given, each by chance alone; other answers differ."""
    rng = np.random.default_rng(seed)
    rows = []
    counts = {"the same again": 2, "other draws": 15, "fillers": 8, "paraphrases": 7}
    for mode, names in recovery.ASKED_OF.items():
        for key in ("first", "second") if mode == recovered_answers.NOISE else ("first",):
            for item in range(n):
                one = rng.random() < shares["one request"]
                for name in names:
                    for number in range(counts.get(name, 1)):
                        right = rng.random() < shares.get(name, shares["one request"])
                        right = one if name in ("one request", "the same again") else right
                        right = right or mode == recovered_answers.INTACT
                        text = f" right{item}." if right else f" wrong{rng.integers(50)}."
                        text = f" wrong{item}." if name == "the same again" and not right else text
                        text = f" wrong{item}." if name == "one request" and not right else text
                        rows.append((mode, name, key, item, number, text))
    return pd.DataFrame(rows, columns=["mode", "attack", "key", "item", "number", "text"])


def judged(shares: Mapping[str, float]) -> tuple[dict[str, str], str, recovered_answers.Recovered]:
    found = recovered_answers.recovered_by(answers_where(shares), [f" right{n}" for n in range(24)], seed=0)
    *tried, control = recovery.measured("planted", found, 0)
    named = {one.quantity.removeprefix("answers recovered: "): one for one in tried}
    outcomes = {name: recovery.outcome(one) for name, one in named.items() if recovery.decides(one)}
    deciding = [one for one in tried if recovery.decides(one)]
    return outcomes, recovery.verdict_of(deciding, [control], found.unlike), found


def test_what_could_not_tell_does_not_decide():
    outcomes, verdict, found = judged({"one request": 0.3, "paraphrases": 0.9, "fillers": 0.9, "more examples": 0.9})
    assert not any(name.startswith(("same request", "3 granted", "5 granted")) for name in outcomes)
    assert "8 examples" in outcomes and verdict == "contradicted"  # no other one is shown to hold
    ceiling = {**found.ceiling, "8 examples": np.full(24, 0.2)}
    unable = recovery.measured("planted", replace(found, ceiling=ceiling), 0)
    assert next(one.quantity for one in unable if "8 examples" in one.quantity).endswith("no better)")


def test_a_planted_leak_is_found_and_named():
    outcomes, verdict, found = judged({"one request": 0.3, "paraphrases": 0.9, "fillers": 0.0, "more examples": 0.0})
    assert outcomes["paraphrases, 8"] == "leaks"
    assert outcomes["8 examples"] == "holds"
    assert verdict == "partly"
    assert found.unlike == 0
    assert list(found.votes["fresh noise"]) == [1, 3, 5, 9, 16]
    assert found.votes["fresh noise"][16].mean() > found.votes["fresh noise"][1].mean() + 0.2
    assert np.allclose(found.votes["the same request"][3], found.votes["the same request"][1])


def test_where_nothing_leaks_the_claim_holds_and_only_if_a_vote_could_have_gained():
    closed = dict.fromkeys(("fillers", "paraphrases", "more examples", "a thought first", "token by token"), 0.0)
    granted = {**closed, "one request": 0.3, "other draws": 0.0}
    outcomes, verdict, _ = judged(granted)
    assert set(outcomes.values()) == {"holds"}
    assert verdict == "not testable here"  # fresh noise gains nothing: a vote has no power here
    holding = [recovery._against("m", "q", np.zeros(20), np.full(20, 0.3), 0)]
    strong = [recovery._against("m", "q", np.ones(20), np.full(20, 0.3), 0)]
    assert recovery.verdict_of(holding, strong, 0) == "reproduced"
    assert recovery.verdict_of(holding, holding, 0) == "not testable here"
    assert recovery.verdict_of(strong, strong, 0) == "contradicted"
    assert recovery.verdict_of([*holding, *strong], strong, 0) == "partly"
    wide = [recovery._against("m", "q", np.tile([0.0, 1.0], 4), np.full(8, 0.4), 0)]
    assert recovery.verdict_of([*wide, *strong], strong, 0) == "contradicted"
    assert recovery.verdict_of(wide, strong, 0) == "not testable here"
    assert recovery.verdict_of(holding, strong, 1) == "contradicted"


def test_a_request_that_is_answered_otherwise_when_repeated_is_counted():
    table = answers_where({"one request": 1.0})
    place = table.index[(table["attack"] == "the same again") & (table["item"] == 3)][0]
    table.loc[place, "text"] = " something else."
    assert recovered_answers.recovered_by(table, [f" right{n}" for n in range(24)], seed=0).unlike == 1


def test_variants_are_prompts_of_their_own_that_never_show_the_answer():
    for one in questions(ability("country-capital", 0), seed=0)[:30]:
        every = [one.prompt, *one.fillers, *one.paraphrases, one.more]
        assert len(set(every)) == len(every) == 17
        assert all(one.pair.question in prompt and one.pair.answer not in prompt for prompt in every)


# --- cost -------------------------------------------------------------------------------------------------------------


def seconds(factors: Mapping[str, float]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    base = {**dict.fromkeys([cost.ONE, cost.ZERO, cost.PLAIN, cost.AGAIN], 1.0)}
    base |= dict.fromkeys([cost.MIXED, cost.UNEDITED, cost.UNEDITED_AGAIN], 2.0)
    return pd.DataFrame(
        {"way": way, "run": run, "tokens": 8, "seconds": one * factors.get(way, 1.0) * (1 + 0.002 * rng.normal())}
        for way, one in base.items()
        for run in range(9)
    )


def test_an_impairment_that_costs_nothing_meets_the_marks_and_a_slow_one_does_not():
    names = {kind: cost.judged({"m": seconds(factors)}, 0).verdicts[0].verdict for kind, factors in SLOW.items()}
    assert names == {"free": "reproduced", "slow batch": "partly", "slow": "contradicted", "busy": "not testable here"}


SLOW: dict[str, dict[str, float]] = {
    "free": {},
    "slow batch": {cost.MIXED: 1.4},
    "slow": {cost.MIXED: 1.4, cost.ONE: 1.2},
    "busy": {cost.AGAIN: 1.1},
}


def test_a_text_that_ends_early_is_not_a_fast_one():
    table = seconds({cost.ONE: 0.5})
    half = table.assign(tokens=np.where(table["way"] == cost.ONE, 4, 8))
    assert cost.judged({"m": half}, 0).verdicts[0].verdict == "reproduced"
    assert np.allclose(cost.speeds(half, cost.PLAIN, cost.ONE), 1, atol=0.02)
    assert np.allclose(cost.speeds(table, cost.PLAIN, cost.ONE), 2, atol=0.04)


def test_a_batch_writes_what_each_plan_writes_alone(model: Model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cost, "PROMPT", PROMPTS[3])
    plans = cost.mixed(6, Dial("gaussian", "mlp_out"), draw=0)
    found = cost.batch(model, plans, n_new=5)
    alone = [list(model.generate(PROMPTS[3], plan, max_new_tokens=5).ids[0]) for plan in plans]
    assert [one[: len(other)] for one, other in zip(found, alone, strict=True)] == alone  # a batch ends nowhere
    assert len({tuple(one) for one in found}) > 2
    assert cost.batch(model, [Plan()] * 2, n_new=5) == [found[0]] * 2


def test_every_way_of_the_timing_runs(model: Model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cost, "PROMPT", PROMPTS[3])
    served = serve(model, "gaussian", 0)
    found = {name: way() for name, way in cost.ways(model, served.dial, quick=True).items()}
    assert set(found) == {name for _, over, under, _ in cost.COMPARISONS for name in (over, under)}
    assert found[cost.PLAIN] == found[cost.ZERO] == found[cost.AGAIN]
    assert found[cost.UNEDITED] == found[cost.UNEDITED_AGAIN]
