"""Nobody gets below a floor: by no field, header or endpoint, by no edit, by no prompt."""

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rheostat.impairment.draws import Draws
from rheostat.serve.floors import check_impairment
from rheostat.serve.keys import Key
from rheostat.serve.refusals import BelowFloor

FLOOR = 0.3
PROMPT = "w5 w9 w12 w7"
PATHS = ("/v1/completions", "/v1/chat/completions", "/v1/lens")
ZEROS = base64.b64encode(bytes(64)).decode()


def question(path: str) -> dict[str, Any]:
    """Return the smallest request of an endpoint."""
    if path == "/v1/chat/completions":
        return {"model": "toy", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 2}
    return {"model": "toy", "prompt": PROMPT, **({"max_tokens": 2} if path == "/v1/completions" else {})}


impairments = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(0, 1),
    st.sampled_from(
        [None, True, False, "0", "0.5", "", [], {}, -0.0, 5e-324, FLOOR, FLOOR - 1e-17, 0.29999999999999993]
    ),
    st.integers(-(10**20), 10**20),
)
SITES = ("embed", "blocks.*.mlp_out", "blocks.0.resid_pre", "blocks.2.resid_post", "final", "logits", "model.layers.1")
edits = st.fixed_dictionaries(
    {
        "edit": st.sampled_from(
            ["scale", "zero", "add", "project", "mix", "replace", "impair", "erase", "cutattention"]
        ),
        "site": st.sampled_from(SITES),
    },
    optional={
        "factor": st.floats(-1000, 1000),
        "mode": st.just("gaussian"),
        "intensity": st.floats(-3, 3),
        "strength": st.floats(-1000, 1000),
        "vector": st.sampled_from([{"tensor": "v"}, {"prompt": PROMPT, "positions": "last", "kind": None}]),
        "value": st.sampled_from([{"tensor": "v"}, {"prompt": PROMPT, "positions": "last", "kind": None}]),
        "positions": st.sampled_from(["all", "last", "generated", {"index": 0}]),
        "tensors": st.sampled_from([{}, {"v": [0.0] * 16}, {"v": {"dtype": "float32", "shape": [16], "data": ZEROS}}]),
    },
)
others = st.fixed_dictionaries(
    {},
    optional={
        "draw": st.integers(-2, 3),
        "seed": st.integers(-5, 5),
        "edits": st.one_of(st.lists(edits, max_size=2), st.none(), st.just({})),
        "steering": st.sampled_from(
            [
                [],
                {"site": "blocks.0.mlp_out", "vector": [1.0] * 16, "strength": -1.0},
                {"direction": "formal", "site": "blocks.1.resid_post", "strength": 1e6},
                [{"direction": "formal", "site": "blocks.*.resid_post", "strength": 0.0, "positions": "prompt"}],
                {"direction": "nothing"},
            ]
        ),
        "temperature": st.floats(0, 3),
        "Impairment": st.just(0),
        "rheostat": st.just({"impairment": 0}),
        "extra_body": st.just({"impairment": 0}),
        "intensity": st.just(0),
        "stream": st.booleans(),
        "k": st.integers(1, 3),
    },
)
headers = st.dictionaries(
    st.sampled_from(["X-Impairment", "Impairment", "X-HTTP-Method-Override", "X-Forwarded-For", "X-Floor", "X-Draw"]),
    st.sampled_from(["0", "GET", "127.0.0.1", "-1"]),
    max_size=2,
)


@pytest.fixture(scope="module")
def floored(served) -> tuple[Any, str]:
    endpoints = ("models", "completions", "chat", "lens")
    granted = {"sites": ("*",), "directions": ("*",), "activations": True, "logits": True}
    return served, served.key(FLOOR, endpoints=endpoints, **granted)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PATHS), impairments, others, headers, st.sampled_from(["", "?impairment=0", "?floor=0&draw=1"]))
def test_whatever_is_answered_was_impaired_by_the_floor_or_more(floored, path, impairment, more, heads, query):
    served, key = floored
    body = json.dumps(question(path) | more | {"impairment": impairment})  # NaN and infinity stand in it as such
    typed = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    response = served.http.post(path + query, content=body, headers={**heads, **typed})
    assert response.status_code in (200, 400, 403), response.text
    if response.status_code != 200:
        return
    assert isinstance(impairment, int | float) and not isinstance(impairment, bool) and FLOOR <= impairment <= 1
    assert not more.get("edits") and not more.get("steering")
    receipts = [part["rheostat"] for part in parts(response.text) if "rheostat" in part]
    assert [one["impairment"] for one in receipts] == [impairment]
    if path != "/v1/lens":  # what the engine counted
        assert all(text["sites"] == served.model.n_blocks for text in receipts[0]["applied"])


def parts(text: str) -> list[dict[str, Any]]:
    """Return an answer, or the events of a stream."""
    if not text.startswith("data: "):
        return [json.loads(text)]
    events = [event.removeprefix("data: ") for event in text.split("\n\n") if event]
    assert events.pop() == "[DONE]"
    return [json.loads(event) for event in events]


def test_a_request_below_its_floor_is_refused_and_not_rounded(floored):
    served, key = floored
    for path in PATHS:
        for below in (0.0, 0.29999999999999993, None):
            body = question(path) | ({} if below is None else {"impairment": below})
            refused = served.post(path, key, **body)
            assert refused.status_code == 403
            error = refused.json()["error"]
            assert error.pop("message").count("0.3")
            assert error == {
                "type": "invalid_request_error",
                "param": None,
                "code": "below_floor",
                "floor": FLOOR,
                "asked": below,
            }
        answered = served.post(path, key, **question(path), impairment=FLOOR)
        assert answered.status_code == 200
        assert answered.json()["rheostat"]["impairment"] == FLOOR


def test_the_noise_that_was_asked_for_is_in_the_network(floored):
    """The control of the property: the same receipt without impairment shows no change, and more with more."""
    served, _ = floored
    key = served.key(0.0)
    applied = [
        served.post("/v1/completions", key, **question("/v1/completions"), impairment=level).json()["rheostat"][
            "applied"
        ][0]
        for level in (0.0, 0.3, 0.6)
    ]
    assert applied[0]["sites"] == 0
    assert applied[1]["sites"] == applied[2]["sites"] == served.model.n_blocks
    assert applied[2]["relative_change"] > 1.5 * applied[1]["relative_change"] > 0


@pytest.mark.parametrize(
    "edit",
    [
        {"edit": "scale", "site": "blocks.*.mlp_out", "factor": 1000.0},
        {
            "edit": "replace",
            "site": "blocks.2.resid_post",
            "value": {"prompt": PROMPT, "positions": "last", "kind": None},
        },
        {"edit": "add", "site": "embed", "vector": {"tensor": "v"}, "tensors": {"v": [0.0] * 16}},
        {"edit": "scale", "site": "embed", "factor": 1.0},
    ],
)
def test_with_a_floor_there_are_no_edits_and_without_one_they_work(floored, edit):
    served, key = floored
    for path in PATHS:
        refused = served.post(path, key, **question(path), impairment=1.0, edits=[edit])
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_granted")
    free = served.key(0.0, sites=("*",))
    allowed = served.post("/v1/completions", free, **question("/v1/completions"), impairment=0.5, edits=[edit])
    assert allowed.status_code == 200, allowed.text


def test_every_edit_would_undo_something_if_it_were_allowed(floored):
    """Why the rule is so strict: scaling what every sublayer writes drowns the noise, and the norms hide the scale."""
    served, _ = floored
    free = served.key(0.0, sites=("*",))

    def text(**body):
        asked = {**question("/v1/completions"), "max_tokens": 8, **body}
        return served.post("/v1/completions", free, **asked).json()["choices"][0]["text"]

    undo = [
        {"edit": "scale", "site": site, "factor": 1e4} for site in ("embed", "blocks.*.attn_out", "blocks.*.mlp_out")
    ]
    assert text(impairment=1.0) != text()
    assert text(impairment=1.0, edits=undo) == text()


def test_sites_that_were_not_granted_are_refused(served):
    key = served.key(
        0.0,
        sites=("blocks.0-1.resid_post", "blocks.7.resid_post", "blocks.0.attn_*"),
        endpoints=("completions", "lens"),
        activations=True,
    )
    edit = {"edit": "scale", "site": "blocks.1.resid_post", "factor": 2.0}
    assert served.post("/v1/completions", key, prompt=PROMPT, edits=[edit]).status_code == 200
    for site in ("blocks.2.resid_post", "blocks.*.resid_post", "model.layers.1", "logits"):
        refused = served.post("/v1/completions", key, prompt=PROMPT, edits=[{**edit, "site": site}])
        assert refused.status_code == 403, refused.text
    assert served.post("/v1/lens", key, prompt=PROMPT).status_code == 403


def test_what_a_key_was_not_granted_is_refused(served):
    key = served.key(0.0, endpoints=("chat",), draws=2)
    assert served.post("/v1/completions", key, prompt=PROMPT).status_code == 403
    assert served.post("/v1/lens", key, prompt=PROMPT).status_code == 403
    chat = question("/v1/chat/completions")
    assert [served.post("/v1/chat/completions", key, **chat, draw=draw).status_code for draw in (0, 1, 2)] == [
        200,
        200,
        403,
    ]
    assert served.post("/v1/chat/completions", key, **chat, logprobs=True).status_code == 403
    assert served.get("/metrics", key).status_code == 403


def test_repeating_a_request_shows_the_same_draw_and_another_draw_is_another(served):
    key = served.key(FLOOR, draws=3, logits=True)
    asked = {**question("/v1/completions"), "impairment": FLOOR, "logprobs": 5, "max_tokens": 6}

    def answer(key=key, **body):
        return json.dumps(served.post("/v1/completions", key, **{**asked, **body}).json()["choices"])

    assert len({answer() for _ in range(8)}) == 1
    assert len({answer(seed=seed) for seed in range(3)}) == 1
    assert len({answer(draw=draw) for draw in range(3)}) == 3
    assert answer(key=served.key(FLOOR, logits=True)) != answer()


def test_the_same_tokens_are_one_draw_and_a_written_token_given_in_the_prompt_is_another(served):
    """What docs/serving.md warns of; without an impairment a written token is what it is in the prompt."""
    key = served.key(0.0, logits=True)
    ids = list(served.model.encode(PROMPT))

    def chances(prompt, level, n):
        asked = {"prompt": prompt, "impairment": level, "max_tokens": n, "logprobs": 0}
        shown = served.post("/v1/completions", key, **asked).json()["choices"][0]["logprobs"]
        return shown["tokens"], shown["token_logprobs"]

    for level in (0.0, FLOOR):
        words, likely = chances(PROMPT, level, 2)
        assert chances(ids, level, 2) == (words, pytest.approx(likely, abs=1e-4))
        (word,), (chance,) = chances([*ids, served.model.token_id(words[0])], level, 1)
        assert ((word, chance) == (words[1], pytest.approx(likely[1], abs=1e-4))) == (level == 0)


def test_a_seed_depends_on_key_prompt_draw_and_secret_alone():
    draws = Draws(bytes(32))
    seeds = [
        draws.noise("a", [1, 23], 0), draws.noise("b", [1, 23], 0), draws.noise("a", [12, 3], 0),
        draws.noise("a", [1, 23], 1), Draws(bytes(31) + b"1").noise("a", [1, 23], 0),
        draws.sampling("a", [1, 23], 0, None), draws.sampling("a", [1, 23], 0, 7),
    ]  # fmt: skip
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert draws.noise("a", [1, 23], 0) == seeds[0]


def test_what_is_left_out_means_zero_unless_the_settings_say_the_floor(serving):
    key = Key(name="x", floor=FLOOR)
    assert check_impairment(key, None, default="floor") == FLOOR
    with pytest.raises(BelowFloor):
        check_impairment(key, float("nan"), default="floor")
    with serving(impairment={"default": "floor"}) as own:
        answered = own.post("/v1/completions", own.key(FLOOR), prompt=PROMPT)
        assert answered.json()["rheostat"]["impairment"] == FLOOR
        assert own.post("/v1/completions", own.key(FLOOR), prompt=PROMPT, impairment=0.1).status_code == 403
