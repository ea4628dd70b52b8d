"""The command itself, in a process of its own, over a socket: OpenAI's client on it, encrypted and in the clear."""

import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rheostat.base.errors import FileNotUsable
from rheostat.models.toy import toy
from rheostat.serve.audit import read_log
from rheostat.serve.keys import Grants, KeyBook
from rheostat.serve.settings import Tls
from tests.serve.over_http.conftest import TEXTS, spelling_tokenizer

PROMPT = "w5 w9 w12 w7"
EDIT = {"edit": "scale", "site": "blocks.0.mlp_out", "factor": -3.0}
NO_ENCRYPTION = serialization.NoEncryption()


def write_certificate(
    folder: Path, name: str = "own", encryption: serialization.KeySerializationEncryption = NO_ENCRYPTION
) -> Tls:
    """Write a certificate for 127.0.0.1 that is signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "toy")]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    made = Tls(certificate=folder / f"{name}.pem", private_key=folder / f"{name}.key")
    made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.private_key.write_bytes(key.private_bytes(*form))
    return made


def use(client: openai.OpenAI) -> None:
    """Complete, stream and chat, plain, impaired and edited."""
    asked: dict[str, Any] = {"model": "toy", "max_tokens": 6}
    chat = {**asked, "messages": [{"role": "user", "content": PROMPT}]}
    seen = []
    for extra in ({}, {"impairment": 1.0}, {"edits": [EDIT]}):
        whole = client.completions.create(**asked, prompt=PROMPT, extra_body=extra)
        parts = client.completions.create(**asked, prompt=PROMPT, extra_body=extra, stream=True)
        assert "".join(part.choices[0].text for part in parts) == whole.choices[0].text
        answer = client.chat.completions.create(**chat, extra_body=extra)
        deltas = client.chat.completions.create(**chat, extra_body=extra, stream=True)
        assert "".join(part.choices[0].delta.content or "" for part in deltas) == answer.choices[0].message.content
        assert whole.model_extra["rheostat"]["impairment"] == extra.get("impairment", 0)
        assert answer.model_extra["rheostat"]["edits"] == len(extra.get("edits", []))
        seen.append((whole.choices[0].text, answer.choices[0].message.content))
    assert len(set(seen)) == len(seen)
    with pytest.raises(openai.BadRequestError, match="no site"):
        client.completions.create(**asked, prompt=PROMPT, extra_body={"edits": [{**EDIT, "site": "blocks.9.mlp_out"}]})


def encrypted(tls: Tls) -> httpx.Client:
    return httpx.Client(verify=ssl.create_default_context(cafile=tls.certificate), timeout=30)


def test_openais_client_shakes_hands_and_is_answered_over_tls(serving, tmp_path):
    tls, other = write_certificate(tmp_path), write_certificate(tmp_path, "other")
    files = {"certificate": str(tls.certificate), "private_key": str(tls.private_key)}
    with serving(tls=files) as own, encrypted(tls) as trusting, encrypted(other) as doubting:
        assert own.url.startswith("https://")
        key, url = own.key(sites=("*",)), f"{own.url}/v1"
        use(openai.OpenAI(api_key=key, base_url=url, max_retries=0, http_client=trusting))
        with pytest.raises(openai.APIConnectionError) as refused:
            openai.OpenAI(api_key=key, base_url=url, max_retries=0, http_client=doubting).models.list()
        assert "CERTIFICATE_VERIFY_FAILED" in str(refused.value.__cause__)
        with pytest.raises(httpx.TransportError):  # nothing is answered in the clear
            httpx.get(own.url.replace("https", "http") + "/health", timeout=10)


def test_a_certificate_that_cannot_be_used_is_refused_before_anything_is_loaded(tmp_path):
    good, other = write_certificate(tmp_path), write_certificate(tmp_path, "other")
    good.check()
    locked = write_certificate(tmp_path, "locked", serialization.BestAvailableEncryption(b"secret"))
    for wrong in (
        Tls(certificate=tmp_path / "none.pem", private_key=good.private_key),
        Tls(certificate=good.certificate, private_key=other.private_key),
        Tls(certificate=good.private_key, private_key=good.private_key),
        locked,
    ):
        with pytest.raises(FileNotUsable, match=r"\[tls\]") as refused:
            wrong.check()
        assert "\n" not in str(refused.value)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the toy as any model is saved."""
    folder = tmp_path_factory.mktemp("models") / "toy"
    toy("llama").save_pretrained(folder)
    spelling_tokenizer().save_pretrained(folder)
    return folder


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return what starts `rheostat` in a process of its own, which ends with the test."""
    with ExitStack() as stack:

        @contextmanager
        def started(*line: object) -> Iterator[subprocess.Popen[str]]:
            command = [sys.executable, "-m", "rheostat.cli.main", *map(str, line)]
            process = subprocess.Popen(command, cwd=tmp_path, env=os.environ, stderr=subprocess.PIPE, text=True)
            try:
                yield process
            finally:
                process.kill()
                process.communicate()

        yield lambda *line: stack.enter_context(started(*line))


@pytest.mark.slow  # a process that loads a model
def test_the_command_serves_openais_client_until_it_is_told_to_stop(start: Start, saved: Path, tmp_path: Path):
    (tmp_path / "texts.txt").write_text(TEXTS)
    tls = write_certificate(tmp_path)
    settings = f"""
        model = "{saved}"
        port = 0
        impairment = {{texts = "texts.txt", most = 8.0}}
        tls = {{certificate = "{tls.certificate.name}", private_key = "{tls.private_key.name}"}}
    """
    (tmp_path / "serve.toml").write_text(settings)
    process = start("serve", "--config", "serve.toml")
    assert process.stderr is not None
    said = process.stderr.readline()
    url = said.removeprefix("serving toy at ").partition(";")[0]
    assert re.fullmatch("https://127.0.0.1:[1-9][0-9]+", url), said
    book = KeyBook(tmp_path / "serve" / "keys.sqlite")
    key = book.create(Grants(name="tester", floor=0.0, sites=("*",)))[1]
    book.close()
    with encrypted(tls) as transport:
        assert transport.get(f"{url}/health").status_code == 200, "it said that it serves before it did"
        use(openai.OpenAI(api_key=key, base_url=f"{url}/v1", max_retries=0, http_client=transport))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) in (0, -signal.SIGTERM)
    assert [line["event"] for line in read_log(tmp_path / "serve" / "audit.jsonl")][-1] == "stop"
