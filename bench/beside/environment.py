"""An environment for one library: made from its pinned requirements by uv, and made again when they change."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ENVIRONMENTS = ROOT / "build" / "beside"


class NotInstallable(Exception):
    """uv could not make the environment."""


def requirements(library: str) -> Path:
    """Return the file with the pinned packages, hashes included."""
    return HERE / f"{library}.txt"


def interpreter(library: str) -> Path:
    """Make a library's environment unless it is there; return its interpreter.

    Raises:
        NotInstallable: there is no uv, or it failed; the message ends with what it said.
    """
    folder = ENVIRONMENTS / library
    python, stamp = folder / "bin" / "python", folder / "made-of"
    pinned = requirements(library)
    digest = hashlib.sha256(pinned.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == digest and python.exists():
        return python
    print(f"Installing {library} into {folder.relative_to(ROOT)}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    uv = find_uv()
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
    _run([uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "--requirement", str(pinned)])
    stamp.write_text(digest, encoding="utf-8")
    return python


def find_uv() -> str:
    """Return the uv that `make` chose, else the one on PATH.

    Raises:
        NotInstallable: there is none.
    """
    if found := os.environ.get("UV") or shutil.which("uv"):
        return found
    raise NotInstallable("there is no uv on PATH. Type: make bench-beside")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstallable(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-1000:]}")
