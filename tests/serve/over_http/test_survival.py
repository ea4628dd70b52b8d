"""The server takes on no more than it can, frees what nobody waits for, and answers nonsense with 4xx."""

import http.client
import json
import socket
import threading
from unittest.mock import Mock

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from rheostat.base.errors import FileNotUsable
from rheostat.engine.continuous import RunningBatch
from rheostat.serve import lens
from rheostat.serve.audit import read_log, verify
from rheostat.serve.secret import read_secret

PROMPT = "w5 w9 w12 w7"


def raw(served, key, body: bytes, *, path: str = "/v1/completions", kind: str = "application/json"):
    headers = {"Authorization": f"Bearer {key}", "Content-Type": kind}
    return served.http.post(path, content=body, headers=headers)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"model": "toy"}', b'{"model": "toy", "prompt": []}',
        b'{"model": "toy", "prompt": ""}', b'{"model": "toy", "prompt": [1, "a"]}',
        b'{"model": "toy", "prompt": [99999]}',
        b'{"model": "toy", "prompt": [-1]}', b'{"model": "toy", "prompt": "w5", "max_tokens": 0}',
        b'{"model": "toy", "prompt": "w5", "max_tokens": 1e3}',
        b'{"model": "toy", "prompt": "w5", "max_tokens": 100000}',
        b'{"model": "toy", "prompt": "w5", "n": 1000}', b'{"model": "toy", "prompt": "w5", "temperature": NaN}',
        b'{"model": "toy", "prompt": "w5", "temperature": 1e999}', b'{"model": "toy", "prompt": "\\ud800"}',
        b'{"model": "toy", "prompt": "w5", "edits": [{"edit": "scale"}]}',
        b'{"model": "toy", "prompt": "w5", "edits": [{"edit": "scale", "site": "embed", "factor": "x"}]}',
        b'{"model": "toy", "prompt": "w5", "edits": [{"edit": "nothing", "site": "embed"}]}',
        b'{"model": "toy", "prompt": "w5", "steering": {"site": "embed", "vector": [1, 2]}}',
        b'{"model": "toy", "prompt": "w5", "steering": {"site": "nowhere", "vector": [1]}}',
        b'{"model": "toy", "prompt": "w5", "steering": {"site": "embed", "vector": [1], "positions": 3.5}}',
        b'{"model": "toy", "prompt": "w5", "impairment": ' + b"9" * 5000 + b"}",
        b'{"model": "toy", "prompt": "w5", "x": ' + b"[" * 20000 + b"]" * 20000 + b"}",
        b'{"model": "toy", "prompt": "w5", "edits": [{"edit": "scale", "site": "embed", "factor": '
        + b"[" * 900 + b"]" * 900 + b"}]}",
    ],
    ids=lambda body: body[:70].decode("latin1"),
)  # fmt: skip
def test_a_malformed_body_is_refused_with_a_reason(served, body):
    key = served.key(0.0, sites=("*",))
    refused = raw(served, key, body)
    assert refused.status_code == 400, refused.text
    assert refused.json()["error"]["message"]
    assert served.idle()


def test_refusals_have_one_form_whatever_is_refused(served):
    key = served.key(0.0)
    seen = [
        raw(served, key, b'{"a": "' + b"x" * 1_000_001 + b'"}'),
        raw(served, key, b"a=1", kind="application/x-www-form-urlencoded"),
        raw(served, "rh-12345678-" + "a" * 43, b"{}"),
        served.get("/v1/models"),
        served.get("/v1/nothing", key),
        served.http.put("/v1/completions", headers={"Authorization": f"Bearer {key}"}),
        served.post("/v1/completions", key, prompt=PROMPT, model="other"),
    ]
    assert [one.status_code for one in seen] == [413, 400, 401, 401, 404, 405, 404]
    assert all(set(one.json()["error"]) == {"message", "type", "param", "code"} for one in seen)


def test_a_body_that_does_not_arrive_is_not_waited_for(serving):
    with serving(limits={"body_seconds": 0.3}) as own:
        key = own.key(0.0)
        connection = http.client.HTTPConnection("127.0.0.1", own.settings.port, timeout=20)
        connection.putrequest("POST", "/v1/completions")
        connection.putheader("Authorization", f"Bearer {key}")
        connection.putheader("Content-Length", "100")
        connection.endheaders(b"{")
        assert connection.getresponse().status == 408
        connection.close()


def open_stream(served, key: str, n_tokens: int = 60) -> socket.socket:
    """Ask for a stream, and return the connection when its first token has come."""
    body = json.dumps({"model": "toy", "prompt": "w5", "max_tokens": n_tokens, "stream": True}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection = socket.create_connection(("127.0.0.1", served.settings.port), timeout=20)
    connection.sendall(head.encode() + body)
    seen = b""
    while b"data: " not in seen:
        seen += connection.recv(4096)
    return connection


def test_a_client_that_leaves_frees_its_row(served):
    key = served.key(0.0)
    for _ in range(3):
        open_stream(served, key).close()
    assert served.idle()
    own = [line for line in read_log(served.settings.audit_path) if line.get("key") == key.split("-")[1]]
    assert {line["event"] for line in own} >= {"asked", "cut short"}


def test_too_many_at_once_are_told_to_wait(serving):
    with serving(limits={"rows": 1, "waiting": 1}) as own:
        key = own.key(0.0, concurrency=50)
        streams = [open_stream(own, key)]
        seen = own.post("/v1/completions", key, prompt=["w5"] * 8, max_tokens=2)
        assert seen.status_code == 429
        assert seen.json()["error"]["code"] == "queue_full" and seen.headers["Retry-After"] == "1"
        for stream in streams:
            stream.close()
        assert own.idle()
        assert own.post("/v1/completions", key, prompt="w5", max_tokens=2).status_code == 200


def test_an_answer_that_takes_too_long_is_ended(serving):
    with serving(limits={"seconds": 0.001}) as own:
        late = own.post("/v1/completions", own.key(0.0), prompt="w5", max_tokens=50)
        assert (late.status_code, late.json()["error"]["code"]) == (408, "timeout")
        assert own.idle()


def test_stopping_lets_answers_end_and_leaves_a_whole_log(serving, tmp_path):
    with serving() as own:
        stream = open_stream(own, own.key(0.0))
        own.server.should_exit = True
        text = b""
        while part := stream.recv(65536):
            text += part
        stream.close()
    assert b"data: [DONE]" in text
    lines = read_log(own.settings.audit_path)
    assert [line["event"] for line in lines] == ["start", "asked", "answered", "stop"]
    assert verify(own.settings.audit_path, read_secret(own.settings.secret_path)).n == 4


def test_nothing_is_answered_that_cannot_be_recorded(serving):
    with serving() as own:
        key = own.key(0.0)
        kept = own.settings.audit_path.read_bytes()
        own.settings.audit_path.write_bytes(b"")
        refused = own.post("/v1/completions", key, prompt="w5")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_recorded")
        own.settings.audit_path.write_bytes(kept)
        assert own.post("/v1/completions", key, prompt="w5").status_code == 200


def test_both_sides_can_tell_that_they_speak_of_the_same(served):
    key = served.key(0.2)
    answer = served.post("/v1/completions", key, prompt=PROMPT, impairment=0.25).json()["rheostat"]
    refused = served.post("/v1/completions", key, prompt=PROMPT, impairment=0.1)
    lines = [line for line in read_log(served.settings.audit_path) if line.get("key") == key.split("-")[1]]
    asked, answered, refusal = lines
    assert asked["impairment"] == answer["impairment"] == 0.25 and asked["request"] == answer["request"]
    assert answered["receipt"] == answer["hash"]
    assert answer["audit"] == {"n": answered["n"], "hash": answered["hash"]}
    assert (refusal["event"], refusal["impairment"], refusal["floor"]) == ("refused", 0.1, 0.2)
    assert refused.status_code == 403


def test_metrics_count_what_happened(served):
    key = served.key(0.0, endpoints=("completions", "metrics"))
    served.post("/v1/completions", key, prompt=PROMPT, max_tokens=3)
    text = served.get("/metrics", key).text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values["rheostat_tokens_written_total"]) >= 3
    assert float(values['rheostat_responses_total{path="/v1/completions",status="200"}']) >= 1
    assert float(values["rheostat_rows_busy"]) == 0
    assert float(values["rheostat_resident_bytes"]) > 1e6


def test_the_openapi_describes_the_refusals_and_no_other(served):
    described = served.get("/openapi.json").json()
    operation = described["paths"]["/v1/completions"]["post"]
    assert set(operation["responses"]) == {"200", "400", "401", "403", "404", "408", "413", "429"}
    fields = described["components"]["schemas"]["CompletionRequest"]["properties"]
    assert {"impairment", "draw", "edits", "steering", "model", "prompt", "stream"} <= set(fields)
    assert operation["security"] == [{"HTTPBearer": []}]


def test_requests_made_from_the_openapi_meet_no_5xx(served):
    """schemathesis: whatever fits the description or nearly does is answered as described."""
    key = served.key(
        0.0, endpoints=("completions", "chat", "lens", "metrics"), sites=("*",), activations=True, logits=True
    )
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    statuses = set()

    def ask(case):
        response = case.call(headers={"Authorization": f"Bearer {key}"}, timeout=30)
        statuses.add(response.status_code)
        wanted = ("not_a_server_error", "status_code_conformance", "content_type_conformance")
        case.validate_response(response, checks=schemathesis.checks.CHECKS.get_by_names(wanted))

    schemathesis.checks.load_all_checks()

    quick = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    for operation in schema.get_all_operations():
        quick(given(operation.ok().as_strategy())(ask))()
    assert {200, 400} <= statuses
    assert served.idle()


def test_a_prompt_longer_than_the_server_reads_is_refused_everywhere(serving):
    with serving(limits={"prompt_tokens": 8}) as own:
        key = own.key(0.0, endpoints=("completions", "chat", "lens"), sites=("*",), activations=True)
        words = " ".join(["w5"] * 9)
        seen = [
            own.post("/v1/completions", key, prompt=words, max_tokens=1),
            own.post("/v1/completions", key, prompt=[[5], [5] * 9], max_tokens=1),
            own.post("/v1/chat/completions", key, messages=[{"role": "user", "content": words}], max_tokens=1),
            own.post("/v1/lens", key, prompt=words),
        ]
        assert [(one.status_code, one.json()["error"]["code"]) for one in seen] == [(400, "PromptTooLong")] * 4
        assert own.post("/v1/completions", key, prompt=words[:23], max_tokens=1).status_code == 200


def test_tracked_tokens_count_among_the_rows_of_a_lens(served, monkeypatch):
    key = served.key(0.0, endpoints=("lens",), sites=("*",), activations=True)
    asked = {"prompt": PROMPT, "k": 1, "positions": "all"}
    n_rows = len(served.post("/v1/lens", key, **asked).json()["rows"])
    monkeypatch.setattr(lens, "MAX_ROWS", 2 * n_rows)
    assert served.post("/v1/lens", key, **asked, track=[" w5"]).status_code == 200
    refused = served.post("/v1/lens", key, **asked, track=[" w5", " w6"])
    assert refused.status_code == 400 and f"{3 * n_rows} rows" in refused.json()["error"]["message"]


def test_a_lens_that_is_not_come_to_in_time_is_ended(serving):
    with serving(limits={"seconds": 0.3}) as own:
        key, held = own.key(0.0, endpoints=("lens",), sites=("*",), activations=True), threading.Event()
        own.service.batcher.call(lambda: held.wait(60))
        late = own.post("/v1/lens", key, prompt=PROMPT)
        held.set()
        assert (late.status_code, late.json()["error"]["code"]) == (408, "timeout")
        assert own.idle()


@pytest.mark.parametrize(
    ("before", "said"), [("", ""), ("", "GET /hea"), ("GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "GET /hea")]
)
def test_a_connection_on_which_no_request_arrives_is_closed(serving, before, said):
    """A head that trickles in is none; what was asked before is answered."""
    with serving(limits={"body_seconds": 0.5}) as own:
        connection = socket.create_connection(("127.0.0.1", own.settings.port), timeout=20)
        connection.sendall(before.encode())
        seen = connection.recv(4096) if before else b""
        connection.sendall(said.encode())
        assert seen.startswith(b"HTTP/1.1 200") == bool(before)
        while connection.recv(4096):
            pass
        connection.close()
        stream = open_stream(own, own.key(0.0), 40)  # one that is answered is not
        stream.close()


def test_a_file_that_cannot_be_used_is_named_to_the_operator_alone(serving, monkeypatch, caplog):
    with serving() as own:
        error = FileNotUsable("the keys /home/owner/keys.sqlite cannot be used (disk I/O error).")
        monkeypatch.setattr(own.service.book, "reserve", Mock(side_effect=error))
        refused = own.post("/v1/completions", own.key(0.0), prompt="w5")
    assert refused.status_code == 500 and "/home" not in refused.text
    assert "/home/owner/keys.sqlite" in caplog.text


def test_why_a_text_could_not_be_computed_stands_in_the_log(serving, monkeypatch, caplog):
    with serving() as own:
        monkeypatch.setattr(RunningBatch, "step", Mock(side_effect=ArithmeticError("planted")))
        key, asked = own.key(0.0), {"prompt": "w5", "max_tokens": 5}
        answers = [own.post("/v1/completions", key, **asked, stream=stream).text for stream in (False, True)]
    assert "planted" not in "".join(answers) and all("could not be computed" in text for text in answers)
    assert caplog.text.count("ArithmeticError: planted") == 2
