"""A toy model behind a server that runs in a thread, on a free port."""

import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
import torch
from openai import OpenAI
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import rheostat as rh
from rheostat.impairment.draws import N_BYTES
from rheostat.models.toy import D_VOCAB, toy
from rheostat.serve.audit import AuditLog
from rheostat.serve.keys import Grants, KeyBook
from rheostat.serve.secret import read_secret
from rheostat.serve.server import make_server
from rheostat.serve.settings import Settings, checked

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' and not loop.first %}{{ raise_exception('system comes first') }}"
    "{% endif %}{{ m.role }} {{ m.content }} {% endfor %}assistant"
)
TEXTS = "\n".join(" ".join(f"w{(7 * n + k * k) % 60 + 4}" for k in range(12)) for n in range(6))
"""What the scale of the dial is measured on; the texts that are taken by default hold no word of the toy's."""


def spelling_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer in which `w7` is token 7, with a chat template; texts keep their spaces."""
    words = {"<pad>": 0, "<bos>": 1, "<eos>": 2, "<unk>": 3, **{f"▁w{i}": i for i in range(4, D_VOCAB)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )
    made.chat_template = TEMPLATE
    return made


@dataclass(frozen=True)
class Running:
    """A server, and what its operator has in hand."""

    url: str
    book: KeyBook
    settings: Settings
    server: Any
    model: rh.Model
    http: httpx.Client

    @property
    def service(self) -> Any:
        return self.server.config.app.state.service

    @property
    def audit(self) -> AuditLog:
        return AuditLog(self.settings.audit_path, read_secret(self.settings.secret_path))

    def key(self, floor: float = 0.0, **grants: Any) -> str:
        return self.book.create(Grants(name="tester", floor=floor, **{"rate": 100_000, **grants}))[1]

    def client(self, floor: float = 0.0, **grants: Any) -> OpenAI:
        return OpenAI(api_key=self.key(floor, **grants), base_url=f"{self.url}/v1", max_retries=0)

    def post(self, path: str, key: str, **body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return self.http.post(path, json={"model": "toy", **body}, headers=headers)

    def get(self, path: str, key: str = "") -> httpx.Response:
        return self.http.get(path, headers={"Authorization": f"Bearer {key}"} if key else {})

    def idle(self) -> bool:
        """Tell whether nothing runs, within some seconds."""
        for _ in range(200):
            figures = self.service.batcher.figures
            if figures.rows == figures.waiting == self.service.limiter.running == 0:
                return True
            time.sleep(0.05)
        return False


@pytest.fixture(autouse=True)
def same_noise(request: pytest.FixtureRequest) -> Iterator[None]:
    """Draw the ids of keys from the name of the test, so that keyed noise is the same whenever it runs."""
    drawn = random.Random(request.node.nodeid)
    with mock.patch("secrets.token_hex", lambda n: drawn.randbytes(n).hex()):
        yield


@pytest.fixture(scope="session")
def toy_model() -> rh.Model:
    loaded = rh.load(toy("llama"), tokenizer=spelling_tokenizer())
    loaded.name = "toy"
    return loaded


def planted_directions(model: rh.Model, *, seed: int = 0, width: int | None = None) -> rh.Directions:
    """Random directions at two sites, long enough to change what the toy says."""
    made = torch.Generator().manual_seed(seed)
    sites = ("blocks.0.resid_post", "blocks.1.resid_post")
    vectors = {site: torch.randn(width or model.d_model, generator=made) * 8 for site in sites}
    known = {"method": "planted", "model": "toy", "weights": model.weight_hash}
    return rh.Directions.of(*(rh.Direction("planted", site, vector, **known) for site, vector in vectors.items()))


@contextmanager
def running(model: rh.Model, folder: Path, **changes: Any) -> Iterator[Running]:
    """Serve until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts.txt").write_text(TEXTS, encoding="utf-8")
    secret = folder / "secret"
    secret.write_text("5e" * N_BYTES)
    secret.chmod(0o600)
    changes["impairment"] = {"most": 8.0, "texts": str(folder / "texts.txt"), **changes.get("impairment", {})}
    settings = checked({"model": "toy", "folder": str(folder), "port": port, **changes})
    server = make_server(model, settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    url, book = f"{'https' if settings.tls else 'http'}://127.0.0.1:{port}", KeyBook(settings.keys_path)
    try:
        verify = ssl.create_default_context(cafile=settings.tls.certificate) if settings.tls else True
        with httpx.Client(base_url=url, timeout=30, verify=verify) as client:
            yield Running(url, book, settings, server, model, client)
    finally:
        book.close()
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def served(toy_model: rh.Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("serve")
    files = {name: str(folder / f"{name}.safetensors") for name in ("formal", "formal-2", "hidden")}
    for seed, path in enumerate(files.values()):
        planted_directions(toy_model, seed=seed).save(path)
    with running(toy_model, folder, directions=files) as one:
        yield one


Serve = Callable[..., Any]


@pytest.fixture
def serving(toy_model: rh.Model, tmp_path: Path) -> Serve:
    """Return what serves the toy under other settings."""
    return lambda **changes: running(toy_model, tmp_path / "own", **changes)
