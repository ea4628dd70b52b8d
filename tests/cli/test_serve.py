"""Keys are made, changed and revoked by commands, each recorded; the log is verified; a server refuses what it must."""

import json
import socket

from rheostat.serve.audit import read_log


def test_a_key_is_made_changed_and_revoked_and_all_of_it_is_recorded(type_in):
    made = type_in(
        "keys",
        "create",
        "institute",
        "--floor",
        "0.6",
        "--draws",
        "5",
        "--endpoint",
        "chat",
        "--site",
        "*",
        "--direction",
        "formal",
    )
    assert made.code == 0 and made.out.startswith("rh-") and "0.6" in made.err
    key_id = made.out.split("-")[1]
    assert type_in("keys", "floor", key_id, "0.5").code == 0
    assert type_in("keys", "change", key_id, "--rate", "7", "--logits").code == 0
    (listed,) = json.loads(type_in("keys", "list", "--json").out)
    assert listed["floor"] == 0.5 and listed["rate"] == 7 and listed["logits"] and listed["draws"] == 5
    assert listed["endpoints"] == ["chat"] and listed["sites"] == ["*"] and listed["directions"] == ["formal"]
    assert listed["revoked"] is None
    assert made.out.strip().split("-", 2)[2] not in json.dumps(listed)
    assert "institute" in type_in("keys", "list").out
    assert json.loads(type_in("keys", "revoke", key_id, "--json").out)["revoked"]
    from pathlib import Path

    log = Path("serve/audit.jsonl")
    assert [line["event"] for line in read_log(log)] == ["key created", "key changed", "key changed", "key revoked"]
    assert [line["grants"]["floor"] for line in read_log(log)] == [0.6, 0.5, 0.5, 0.5]
    verified = type_in("audit", "verify", "serve/audit.jsonl", "--secret", "serve/secret")
    assert verified.code == 0 and "4 lines" in verified.out
    place = f"2:{read_log(log)[1]['hash']}"
    assert type_in("audit", "verify", "serve/audit.jsonl", "--witness", place).code == 0
    assert type_in("audit", "verify", "serve/audit.jsonl", "--witness", "3" + place[1:]).code == 1
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:3]))
    cut = type_in("audit", "verify", "serve/audit.jsonl")
    assert (cut.code, cut.err.split(":")[0]) == (1, "AuditBroken")


def test_what_cannot_be_is_refused_in_one_line(type_in):
    for line, words in {
        "keys create x --floor 1.5": "from 0 (the intact model) to 1",
        "keys create x --floor 0.5 --endpoint chats": "no endpoint 'chats'",
        "keys floor 00000000 0.5": "KeyNotFound",
        "keys revoke 00000000": "KeyNotFound",
        "keys change 00000000": "nothing to change",
        "audit verify none.jsonl": "FileNotUsable",
        "audit verify none.jsonl --witness 3": "N:HASH",
        "serve --host 0.0.0.0": "--insecure",
        "serve --config none.toml": "none.toml",
    }.items():
        typed = type_in(*line.split())
        assert typed.code == 2, line
        assert words in typed.err and typed.err.count("\n") == 1


def test_no_keys_are_said_to_be_none(type_in):
    listed = type_in("keys", "list")
    assert listed.code == 0 and listed.out == "" and "keys create" in listed.err


def test_an_address_that_is_taken_or_elsewhere_is_refused_in_one_line(type_in):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for host, port in (("127.0.0.1", taken.getsockname()[1]), ("192.0.2.1", 8765)):
            typed = type_in("serve", "--insecure", "--host", host, "--port", str(port))
            assert typed.code == 2 and f"cannot listen at {host}:{port}" in typed.err and typed.err.count("\n") == 1
