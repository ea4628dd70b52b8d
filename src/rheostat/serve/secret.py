"""The server's secret: 32 random bytes in a file that only its owner can read."""

import os
import secrets
from pathlib import Path

from rheostat.base.errors import FileNotUsable
from rheostat.impairment.draws import N_BYTES


def read_secret(path: Path) -> bytes:
    """Return the secret in a file; made on first use, with mode 0600.

    Raises:
        FileNotUsable: the file can be read by others, is damaged, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make(path)
        if path.stat().st_mode & 0o077:
            raise FileNotUsable(f"the secret {path} can be read by others. Type: chmod 600 {path}")
        found = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise FileNotUsable(f"the secret {path} cannot be used ({error.strerror or error}).") from error
    except ValueError as error:
        raise FileNotUsable(f"the secret {path} is damaged: it holds no {2 * N_BYTES} hexadecimal digits.") from error
    if len(found) != N_BYTES:
        raise FileNotUsable(f"the secret {path} is damaged: it holds {len(found)} bytes, not {N_BYTES}.")
    return found


def _make(path: Path) -> None:
    """Write a new secret where there is none; of two processes, one does."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    if path.exists():
        return
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(N_BYTES) + "\n")
        try:
            os.link(temporary, path)  # fails where another process was faster
        except FileExistsError:
            return
    finally:
        temporary.unlink()
