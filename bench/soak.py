"""`python -m bench.soak --minutes 10`: a server under good, bad, rude and slow clients; exit code 1 if it suffers.

The server is a process of its own. Clients complete and stream, leave in the middle, read slowly, send nonsense and too
much, and knock with wrong keys. Afterwards no answer may have been a 5xx, no row, request or thread may be left, and
memory must not have grown since half time.
"""

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx

from rheostat.serve.audit import read_log, verify
from rheostat.serve.keys import Grants, KeyBook
from rheostat.serve.secret import read_secret

GROWTH = 1.05
"""How much the memory may be above that at half time."""
ENDPOINTS = ("models", "completions", "chat", "lens", "metrics")
NONSENSE = (
    b"", b"{", b"[]", b"\xff\xfe\x00", b'{"prompt": ' + b"[" * 5000, b'{"a": "' + b"x" * 1_100_000 + b'"}',
)  # fmt: skip


class Soak:
    """One server, and what its clients saw."""

    def __init__(self, url: str, key: str, model: str, ends: float) -> None:
        self.url, self.key, self.model, self.ends = url, key, model, ends
        self.seen: Counter[tuple[str, str]] = Counter()
        self._headers = {"Authorization": f"Bearer {key}"}

    def run(self, kind: str, ask: Callable[[httpx.Client, random.Random], str], number: int) -> None:
        """Ask again and again until the time is up."""
        draw = random.Random(f"{kind} {number}")
        with httpx.Client(base_url=self.url, timeout=60) as client:
            while time.monotonic() < self.ends:
                try:
                    self.seen[kind, ask(client, draw)] += 1
                except httpx.HTTPError as error:
                    self.seen[kind, type(error).__name__] += 1
                    time.sleep(0.2)

    def complete(self, client: httpx.Client, draw: random.Random) -> str:
        """Ask for a whole answer."""
        path, body = self._question(draw)
        return str(client.post(path, json=body, headers=self._headers).status_code)

    def stream(self, client: httpx.Client, draw: random.Random) -> str:
        """Read a stream, and leave it at some place or at its end."""
        path, body = self._question(draw)
        leave = draw.choice([1, 2, 5, 1000])
        with client.stream("POST", path, json={**body, "stream": True}, headers=self._headers) as response:
            for n, _ in enumerate(response.iter_lines()):
                if n >= leave:
                    break
            return str(response.status_code)

    def crawl(self, _client: httpx.Client, draw: random.Random) -> str:
        """Ask for a stream, read a few bytes a second, and hang up."""
        path, body = self._question(draw)
        raw = json.dumps({**body, "stream": True}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
        address = httpx.URL(self.url)
        with socket.create_connection((address.host, address.port or 80), timeout=30) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.sendall(head.encode() + raw)
            status = connection.recv(12).decode("latin1")[9:12]
            for _ in range(draw.randint(1, 8)):
                connection.recv(16)
                time.sleep(0.5)
        return status

    def babble(self, client: httpx.Client, draw: random.Random) -> str:
        """Send nonsense with a good key."""
        body = draw.choice([*NONSENSE, bytes(draw.randrange(256) for _ in range(200))])
        path = draw.choice(["/v1/completions", "/v1/chat/completions", "/v1/lens", "/v1/nothing", "/"])
        return str(
            client.post(path, content=body, headers={**self._headers, "Content-Type": "application/json"}).status_code
        )

    def knock(self, client: httpx.Client, draw: random.Random) -> str:
        """Ask with a wrong key."""
        key = draw.choice(["", "x", "rh-12345678-" + "a" * 43, self.key[:-1], self.key + "a"])
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return str(client.post("/v1/completions", json=self._question(draw)[1], headers=headers).status_code)

    def gauges(self) -> dict[str, float]:
        """Return what the server says of itself."""
        text = httpx.get(f"{self.url}/metrics", headers=self._headers, timeout=60).text
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return {name.removeprefix("rheostat_"): float(value) for name, value in lines}

    def idle(self) -> dict[str, float]:
        """Wait until nothing runs, at most a minute, and return the gauges."""
        for _ in range(120):
            found = self.gauges()
            if found["rows_busy"] == found["rows_waiting"] == found["requests_running"] == 0:
                break
            time.sleep(0.5)
        return found

    def _question(self, draw: random.Random) -> tuple[str, dict[str, object]]:
        words = " ".join(
            draw.choice(["the", "capital", "of", "France", "is", "seven", "blue"]) for _ in range(draw.randint(1, 40))
        )
        body: dict[str, object] = {"model": self.model, "impairment": draw.choice([0.0, 0.25, draw.random()])}
        if draw.random() < 0.2:
            body["edits"] = [{"edit": "scale", "site": "blocks.1.mlp_out", "factor": draw.random()}]
        if draw.random() < 0.2:
            body |= {"temperature": 1.0, "seed": draw.randrange(9)}
        body["max_tokens"] = draw.choice([1, 8, 24])
        if draw.random() < 0.4:
            return "/v1/chat/completions", body | {"messages": [{"role": "user", "content": words}]}
        return "/v1/completions", body | {"prompt": words}


def main() -> int:
    """Run the soak and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--clients", type=int, default=2, help="of each kind")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        book = KeyBook(Path(folder) / "keys.sqlite")
        grants = {"rate": 10**6, "concurrency": 10**4, "tokens_per_day": 10**9, "sites": ("*",)}
        key = book.create(Grants(name="soak", floor=0.0, endpoints=ENDPOINTS, **grants))[1]
        command = [sys.executable, "-m", "rheostat.cli.main", "serve", "--model", asked.model]
        server = subprocess.Popen(
            [*command, "--port", str(port), "--folder", folder], env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        try:
            return soak(f"http://127.0.0.1:{port}", key, asked.model, asked.minutes * 60, asked.clients)
        finally:
            server.terminate()
            server.wait(60)
            log = Path(folder) / "audit.jsonl"
            last = verify(log, read_secret(Path(folder) / "secret"))
            print(f"the log has {last.n} lines, all in their chain; the last says {read_log(log)[-1]['event']}")
            book.close()


def soak(url: str, key: str, model: str, seconds: float, n_clients: int) -> int:
    """Ask for some time, and judge; return the exit code."""
    wait_for(url)
    asking = Soak(url, key, model, time.monotonic() + seconds)
    asking.complete(httpx.Client(base_url=url, timeout=60), random.Random(0))
    before = asking.idle()
    kinds = {
        "complete": asking.complete,
        "stream": asking.stream,
        "crawl": asking.crawl,
        "babble": asking.babble,
        "knock": asking.knock,
    }
    threads = [
        threading.Thread(target=asking.run, args=(kind, ask, number))
        for kind, ask in kinds.items()
        for number in range(n_clients)
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 2)
    half = asking.gauges()
    for thread in threads:
        thread.join()
    time.sleep(6)  # connections that are kept alive end after five seconds
    after = asking.idle()
    for (kind, status), n in sorted(asking.seen.items()):
        print(f"{kind:9} {status:20} {n}")
    for name in ("rows_busy", "rows_waiting", "requests_running", "threads", "resident_bytes"):
        print(f"{name:17} before {before[name]:.0f}, at half time {half[name]:.0f}, after {after[name]:.0f}")
    failures = sum(n for (_, status), n in asking.seen.items() if not status.isdigit() or status >= "500")
    left = [after[name] for name in ("rows_busy", "rows_waiting", "requests_running")]
    grown = after["resident_bytes"] / half["resident_bytes"]
    print(f"{failures} answers were 5xx or none; memory after against half time: {grown:.3f}")
    return int(failures > 0 or any(left) or grown > GROWTH or after["threads"] > half["threads"])


def wait_for(url: str) -> None:
    """Wait until the server answers, at most five minutes."""
    for _ in range(600):
        try:
            httpx.get(f"{url}/health")
        except httpx.TransportError:
            time.sleep(0.5)
        else:
            return
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    sys.exit(main())
