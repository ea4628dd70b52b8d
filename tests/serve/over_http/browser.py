"""A real browser without a window, driven over a pipe by the DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PLACE = """
import os, sys
for place, end in enumerate(sys.argv[1:3]):
    os.dup2(int(end), 20 + place)
for place in (0, 1):
    os.dup2(20 + place, 3 + place)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Becomes the browser, which reads from descriptor 3 and writes to 4."""
KEYS = {
    "Tab": {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9},
    "Enter": {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
    "Space": {"key": " ", "code": "Space", "windowsVirtualKeyCode": 32, "text": " "},
    "Right": {"key": "ArrowRight", "code": "ArrowRight", "windowsVirtualKeyCode": 39},
    "Down": {"key": "ArrowDown", "code": "ArrowDown", "windowsVirtualKeyCode": 40},
    "Left": {"key": "ArrowLeft", "code": "ArrowLeft", "windowsVirtualKeyCode": 37},
}


class Browser:
    """One page of one browser."""

    def __enter__(self) -> "Browser":
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        (for_it, self._write), (self._read, from_it) = os.pipe(), os.pipe()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"]
        options += [f"--user-data-dir={self._profile.name}", "--window-size=1100,1400", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", PLACE, str(for_it), str(from_it), str(CHROMIUM), *options],
            pass_fds=(for_it, from_it),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(for_it), os.close(from_it)
        self._number, self._buffer, self._session = 0, b"", None
        self.events: list[dict[str, Any]] = []
        target = next(t for t in self.do("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.do("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write), os.close(self._read)
        self._profile.cleanup()

    def do(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; what happens meanwhile is kept in `events`."""
        found = self._answer(method, **params)
        assert "error" not in found, found
        return found["result"]

    def _answer(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._buffer:
                data = os.read(self._read, 1 << 16)
                assert data, "the browser ended"
                self._buffer += data
            raw, _, self._buffer = self._buffer.partition(b"\0")
            found = json.loads(raw)
            if found.get("id") == self._number:
                return found
            self.events.append(found)

    def open(self, url: str) -> None:
        self._leave("Page.navigate", url=url)

    def reload(self) -> None:
        self._leave("Page.reload")

    def _leave(self, method: str, **params: Any) -> None:
        """Go to another document and wait until it is there; the one before is told by a mark on its window."""
        self.value("window.left = true")
        self.do(method, **params)
        self.until("window.left === undefined && document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """Return what an expression gives, evaluated in the page."""
        found = self.do("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str, seconds: float = 60.0) -> None:
        """Wait until an expression is true; while a document is being replaced, none is."""
        end = time.monotonic() + seconds
        while True:
            found = self._answer("Runtime.evaluate", expression=expression, returnByValue=True)
            if found.get("result", {}).get("result", {}).get("value"):
                return
            assert time.monotonic() < end, f"{expression}: {found}; the page: {self.value('document.body.innerText')}"
            time.sleep(0.05)

    def press(self, name: str, *, ctrl: bool = False, times: int = 1) -> None:
        """Press a key of the keyboard."""
        for _ in range(times):
            modifiers = 2 if ctrl else 0
            self.do("Input.dispatchKeyEvent", type="keyDown", modifiers=modifiers, **KEYS[name])
            self.do("Input.dispatchKeyEvent", type="keyUp", modifiers=modifiers, **KEYS[name])

    def type(self, text: str) -> None:
        self.do("Input.insertText", text=text)

    def tab_to(self, name: str) -> None:
        """Press Tab until the element of this id has the focus."""
        for _ in range(40):
            if self.value("document.activeElement.id || document.activeElement.innerText") == name:
                return
            self.press("Tab")
        raise AssertionError(f"Tab does not reach {name}")

    def theme(self, name: str) -> None:
        self.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def screenshot(self, path: Path) -> None:
        picture = self.do("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(picture))

    def problems(self) -> list[str]:
        """Return errors of the page and requests to anywhere but this machine."""
        self.do("Runtime.evaluate", expression="1")
        found = []
        for event in self.events:
            params = event.get("params", {})
            if event["method"] in ("Runtime.exceptionThrown",):
                found.append(json.dumps(params))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
                found.append(params["entry"]["text"])
            elif event["method"] == "Network.requestWillBeSent":
                url = params["request"]["url"]
                if not url.startswith(("http://127.0.0.1", "data:", "about:")):
                    found.append(url)
        return found
