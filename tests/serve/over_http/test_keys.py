"""Keys are nowhere in clear, do what they were granted and no more, and end at once when they are revoked."""

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import openai
import pytest

from rheostat.base.errors import BadArgument, KeyNotFound
from rheostat.serve import keys
from rheostat.serve.audit import read_log
from rheostat.serve.keys import Grants, KeyBook
from rheostat.serve.limits import Limiter
from rheostat.serve.refusals import OverLimit

PROMPT = "w5 w9 w12 w7"


@pytest.fixture
def book(tmp_path):
    opened = KeyBook(tmp_path / "keys.sqlite")
    yield opened
    opened.close()


def test_a_key_is_found_by_its_text_alone(book):
    key, text = book.create(Grants(name="a", floor=0.5))
    assert book.find(text) == key
    other, _ = book.create(Grants(name="b", floor=0.0))
    wrong = [
        "",
        "rh-",
        text[:-1],
        text + "a",
        text.upper(),
        text.replace(key.id, other.id),
        "é" * 55,
        f"rh-{key.id}-" + "a" * 43,
    ]
    assert [book.find(one) for one in wrong] == [None] * len(wrong)


def test_a_key_is_in_no_file_and_in_no_log(serving, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with serving() as own:
        text = own.key(0.2)
        wrong = "rh-12345678-" + "s" * 43
        own.post("/v1/completions", text, prompt=f"{text} w5", impairment=0.5, max_tokens=2)
        own.post("/v1/completions", text, prompt="w5", impairment=0.1)
        own.post("/v1/completions", text, prompt="w5", edits=[{"edit": text, "site": text}], impairment=0.5)
        own.post(f"/v1/completions?key={text}", text, prompt="w5", model=text)
        assert own.get(f"/v1/models/{text}?a={wrong}", wrong).status_code == 401
        files = [path for path in own.settings.folder.rglob("*") if path.is_file()]
        content = b"".join(path.read_bytes() for path in files)
        assert len(files) >= 4 and text.encode() not in content
        assert text.split("-", 2)[2].encode() not in content and wrong.encode() not in content
        assert text.split("-")[1].encode() in content  # the id is, so that the search can find something
        assert all(path.stat().st_mode & 0o077 == 0 for path in files if path.name in ("keys.sqlite", "secret"))
    printed = capfd.readouterr()
    own_logs = [one.getMessage() for one in caplog.records if not one.name.startswith(("httpx", "httpcore"))]
    assert text not in "".join(own_logs) + printed.out + printed.err


def test_a_revoked_key_ends_at_once_and_in_the_middle_of_a_stream(served):
    text = served.key(0.0)
    client = openai.OpenAI(api_key=text, base_url=f"{served.url}/v1", max_retries=0)
    stream = client.completions.create(model="toy", prompt="w5", max_tokens=60, stream=True)
    next(stream)
    served.book.revoke(text.split("-")[1])
    with pytest.raises(openai.APIError, match="revoked"):
        slow(stream)
    assert served.idle()
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
    (end,) = [line for line in read_log(served.settings.audit_path) if line.get("key") == text.split("-")[1]][-1:]
    assert end["event"] == "cut short"


def test_a_raised_floor_stops_what_runs_below_it(served):
    text = served.key(0.0)
    client = openai.OpenAI(api_key=text, base_url=f"{served.url}/v1", max_retries=0)
    stream = client.completions.create(model="toy", prompt="w5", max_tokens=60, stream=True)
    next(stream)
    served.book.change(text.split("-")[1], floor=0.5)
    with pytest.raises(openai.APIError, match="floor"):
        slow(stream)
    assert served.idle()


def slow(stream):
    """Read a stream to its end."""
    for _ in stream:
        time.sleep(0)


def test_changes_hold_at_once_and_are_kept(book, tmp_path):
    key, text = book.create(Grants(name="a", floor=0.5))
    changed = book.change(key.id, floor=0.25, sites=("*",))
    assert changed == replace(key, floor=0.25, sites=("*",))
    again = KeyBook(tmp_path / "keys.sqlite")
    assert again.find(text) == changed
    book.revoke(key.id)
    assert again.find(text) is None
    assert again.all()[0].revoked == book.revoke(key.id).revoked != None  # noqa: E711
    again.close()
    with pytest.raises(KeyNotFound, match=key.id):
        book.get("nothing")
    for wrong in ({"floor": 1.1}, {"floor": float("nan")}, {"endpoints": ("chats",)}, {"rate": 0}, {"draws": 0}):
        with pytest.raises(BadArgument):
            book.change(key.id, **wrong)


def test_rate_concurrency_and_tokens_have_limits(book):
    now = [0.0]
    limiter = Limiter(book, clock=lambda: now[0])
    key, _ = book.create(Grants(name="a", floor=0.0, rate=2, concurrency=1, tokens_per_day=100))
    limiter.count(key)
    now[0] = 30.0
    limiter.count(key)
    with pytest.raises(OverLimit, match="2 times a minute") as refused:
        limiter.count(key)
    assert refused.value.retry_after == 31
    now[0] = 60.0
    limiter.count(key)
    slot = limiter.admit(key, 80)
    with pytest.raises(OverLimit, match="1 requests running"):
        limiter.admit(key, 1)
    slot.release(30)
    slot.release(0)
    assert book.used_today(key) == 30
    with pytest.raises(OverLimit, match="71 more tokens"):
        limiter.admit(key, 71)
    assert limiter.running == 0
    limiter.admit(key, 70).release(70)
    assert book.used_today(key) == 100


def test_limits_come_back_as_429_with_a_time_to_wait(served):
    often = served.key(0.0, rate=1)
    assert served.get("/v1/models", often).status_code == 200
    refused = served.get("/v1/models", often)
    assert refused.status_code == 429 and int(refused.headers["Retry-After"]) > 0
    little = served.key(0.0, tokens_per_day=10)
    assert served.post("/v1/completions", little, prompt=PROMPT, max_tokens=6).status_code == 200
    assert served.post("/v1/completions", little, prompt=PROMPT, max_tokens=6).status_code == 429


def test_a_key_can_see_what_it_may(served):
    text = served.key(0.25, draws=3)
    own = served.get("/v1/key", text).json()
    assert (own["floor"], own["draws"], own["tokens_used_today"]) == (0.25, 3, 0)
    assert text not in json.dumps(own)


CHANGES = {
    "edits where a floor is set": (
        {"impairment": 1.0, "edits": [{"edit": "scale", "site": "embed", "factor": 2.0}]},
        {"floor": 0.5},
        "edits could undo",
    ),
    "an endpoint": ({}, {"endpoints": ("chat",)}, "may not ask the endpoint"),
    "probabilities": ({"logprobs": 1}, {"logits": False}, "may not see probabilities"),
    "a site": (
        {"edits": [{"edit": "scale", "site": "embed", "factor": 2.0}]},
        {"sites": ("blocks.*.mlp_out",)},
        "may not touch embed",
    ),
    "a direction": (
        {"steering": {"direction": "formal", "site": "blocks.1.resid_post"}},
        {"directions": ("formal-*",)},
        "it may steer by: formal-2",
    ),
    "a draw": ({"draw": 1}, {"draws": 1}, "granted draws 0 to 0"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_taken_away_ends_in_the_middle_of_a_stream(served, name):
    fields, change, message = CHANGES[name]
    text = served.key(0.0, sites=("*",), directions=("*",), logits=True, draws=2)
    client = openai.OpenAI(api_key=text, base_url=f"{served.url}/v1", max_retries=0)
    stream = client.completions.create(model="toy", prompt="w5", max_tokens=60, stream=True, extra_body=fields)
    next(stream)
    held = hold(served)
    served.book.change(text.split("-")[1], **change)
    held.set()
    with pytest.raises(openai.APIError, match=message):
        slow(stream)
    assert served.idle()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"floor": 0.5}, 403),
        ({"activations": False}, 403),
        ({"sites": ("blocks.*.mlp_out",)}, 403),
        (None, 401),
        ({"rate": 999}, 200),
    ],
)
def test_a_lens_that_was_asked_before_a_key_lost_it_is_not_answered(served, change, status):
    text = served.key(0.0, endpoints=("lens",), sites=("*",), activations=True)
    held = hold(served)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(served.post, "/v1/lens", text, prompt=PROMPT, impairment=0.2, k=1)
        while not served.service.limiter.running and not coming.done():
            time.sleep(0.01)
        if change is None:
            served.book.revoke(text.split("-")[1])
        else:
            served.book.change(text.split("-")[1], **change)
        held.set()
        assert coming.result().status_code == status
    assert served.idle()


def hold(served) -> threading.Event:
    """Let the thread that computes wait, and return what lets it go on."""
    held = threading.Event()
    served.service.batcher.call(lambda: held.wait(60))
    return held


def test_what_is_given_back_goes_to_the_day_from_which_it_was_taken(book, monkeypatch):
    key, _ = book.create(Grants(name="a", floor=0.0, tokens_per_day=100))
    limiter, today = Limiter(book), ["2030-01-01"]
    monkeypatch.setattr(keys, "_now", lambda: f"{today[0]}T23:59")
    slot = limiter.admit(key, 90)
    today[0] = "2030-01-02"
    limiter.admit(key, 50).release(50)
    slot.release(5)
    assert book.used_today(key) == 50
    today[0] = "2030-01-01"
    assert book.used_today(key) == 5
