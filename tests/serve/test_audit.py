"""A log that was changed or shortened is found out, whoever did it and wherever."""

import json
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rheostat.base.errors import AuditBroken, FileNotUsable
from rheostat.serve.audit import AuditLog, Place, line_hash, read_log, verify

SECRET = bytes(range(32))


@pytest.fixture
def path(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl", SECRET)
    for number in range(6):
        log.append("asked", key=f"key{number}", impairment=number / 10)
    return tmp_path / "audit.jsonl"


def test_a_log_that_was_left_alone_is_whole(path):
    last = verify(path, SECRET)
    assert last.n == 6 == len(read_log(path))
    assert verify(path) == verify(path, witness=last) == last
    AuditLog(path, SECRET).append("asked")
    assert verify(path, SECRET, witness=last).n == 7


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_change_is_found(path, data):
    """Lines taken out, doubled, moved or rewritten with new hashes; bytes changed; the end cut off."""
    good = path.read_bytes()
    lines = good.splitlines(keepends=True)
    place = data.draw(st.integers(0, 5))
    kind = data.draw(st.sampled_from(["cut", "drop", "double", "swap", "byte", "forge", "torn"]))
    if kind == "cut":
        lines = lines[:place]
    elif kind == "drop":
        del lines[place]
    elif kind == "double":
        lines.insert(place, lines[place])
    elif kind == "swap":
        other = data.draw(st.integers(0, 5).filter(lambda n: n != place))
        lines[place], lines[other] = lines[other], lines[place]
    elif kind == "byte":
        at = data.draw(st.integers(0, len(lines[place]) - 1))
        lines[place] = lines[place][:at] + bytes([lines[place][at] ^ 1]) + lines[place][at + 1 :]
    elif kind == "torn":
        lines[5] = lines[5][: data.draw(st.integers(0, len(lines[5]) - 1))]
    else:
        lines[place:] = forged([json.loads(line) for line in lines[place:]])
    try:
        path.write_bytes(b"".join(lines))
        with pytest.raises(AuditBroken):
            verify(path)
    finally:
        path.write_bytes(good)
    verify(path, SECRET)


def forged(lines):
    """Return lines whose first one says another impairment, with all hashes made anew."""
    lines[0]["impairment"] = 0.99
    for before, line in zip([None, *lines], lines, strict=False):
        if before is not None:
            line["previous"] = before["hash"]
        line["hash"] = line_hash(line)
    return [json.dumps(line).encode() + b"\n" for line in lines]


def test_a_head_that_somebody_else_wrote_is_found(path):
    lines = path.read_bytes().splitlines(keepends=True)[:4]
    short = json.loads(lines[3])
    path.write_bytes(b"".join(lines))
    head = path.with_name("audit.jsonl.head")
    content = {"n": 4, "hash": short["hash"], "size": path.stat().st_size, "mac": "0" * 64}
    head.write_text(json.dumps(content))
    assert verify(path).n == 4  # without the secret, log and head agree
    with pytest.raises(AuditBroken, match="not written by the server"):
        verify(path, SECRET)
    with pytest.raises(AuditBroken, match="not written by the server"):
        AuditLog(path, SECRET).append("asked")


def test_a_log_and_a_head_that_were_set_back_contradict_an_answer(path):
    before = path.read_bytes(), path.with_name("audit.jsonl.head").read_bytes()
    place = AuditLog(path, SECRET).append("answered")
    assert verify(path, SECRET, witness=place) == place
    path.write_bytes(before[0])
    path.with_name("audit.jsonl.head").write_bytes(before[1])
    assert verify(path, SECRET).n == 6
    with pytest.raises(AuditBroken, match="an answer names line 7"):
        verify(path, SECRET, witness=place)
    with pytest.raises(AuditBroken, match="an answer names line 3"):
        verify(path, SECRET, witness=Place(3, place.hash))


def test_what_a_killed_process_left_is_taken_in(path):
    """A line was written but not the head; of another only the beginning was."""
    head = path.with_name("audit.jsonl.head").read_bytes()
    kept = AuditLog(path, SECRET).append("asked")
    path.with_name("audit.jsonl.head").write_bytes(head)
    with path.open("ab") as stream:
        stream.write(b'{"n": 8, "ti')
    assert verify(path, SECRET) == kept
    assert AuditLog(path, SECRET).append("asked").n == 8
    assert verify(path, SECRET).n == 8


def test_a_shortened_log_is_not_gone_on_with(path):
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FileNotUsable, match="was shortened"):
        AuditLog(path, SECRET).append("asked")
    path.with_name("audit.jsonl.head").unlink()
    with pytest.raises(FileNotUsable, match="missing"):
        AuditLog(path, SECRET).append("asked")
    with pytest.raises(FileNotUsable, match="missing"):
        verify(path)


def test_several_writers_make_one_chain(path):
    def write():
        log = AuditLog(path, SECRET)
        for _ in range(10):
            log.append("asked")

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(path, SECRET).n == 36
