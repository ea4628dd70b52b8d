"""Ed25519 signatures of records, and the check that a record is as it was signed and follows from its own answers.

RFC 8032. The signature covers the canonical JSON of the content: sorted keys, no spaces, ASCII.
"""

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rheostat.base.errors import BadArgument, FileNotUsable, MissingExtra
from rheostat.base.files import output_path
from rheostat.evaluation.protocol import Protocol
from rheostat.evaluation.record import FORMAT, right_by_level
from rheostat.evaluation.rule import judge
from rheostat.store.key import as_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM = "Ed25519"


@dataclass(frozen=True)
class Verification:
    """What the check of a record found."""

    problems: tuple[str, ...]
    """Each a sentence; none: the record is as it was signed."""
    public_key: str
    """Of who signed, 64 hexadecimal digits. Whose it is the record cannot say."""
    content: Mapping[str, Any]

    @property
    def holds(self) -> bool:
        """Whether nothing was changed."""
        return not self.problems


def check_cryptography() -> None:
    """Make sure that cryptography is installed, without loading it.

    Raises:
        MissingExtra: it is not.
    """
    if importlib.util.find_spec("cryptography") is None:
        raise MissingExtra(
            "signing needs cryptography, which is not installed. In rheostat's folder, type: pip install '.[serve]'"
        )


def create_key(path: str | Path) -> str:
    """Write a new private key (PEM, readable by its owner alone), and return its public key.

    Raises:
        WouldOverwrite: the file exists; a key is never replaced.
        MissingExtra: cryptography is not installed.
    """
    check_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path = output_path(Path(path), overwrite=False)
    key = Ed25519PrivateKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return public_key_of(key)


def read_key(path: str | Path) -> "Ed25519PrivateKey":
    """Return the private key in a file that `create_key` wrote.

    Raises:
        FileNotUsable: the file is missing or holds no Ed25519 key.
        MissingExtra: cryptography is not installed.
    """
    check_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(Path(path).read_bytes(), password=None)
    except OSError as error:
        raise FileNotUsable(
            f"{path} cannot be read ({error.strerror or error}). Make a key: rheostat evaluate key {path}"
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FileNotUsable(
            f"{path} holds no private key without a password. Type: rheostat evaluate key FILE"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise FileNotUsable(f"{path} holds a key of another kind than {ALGORITHM}.")
    return key


def signed(content: Mapping[str, Any], key: "Ed25519PrivateKey") -> str:
    """Return the record with its signature, as one JSON text. The same content and key give the same text."""
    value = key.sign(as_json(dict(content)).encode()).hex()
    signature = {"algorithm": ALGORITHM, "public_key": public_key_of(key), "value": value}
    return as_json({"content": dict(content), "signature": signature}) + "\n"


def read_signed(path: str | Path) -> dict[str, Any]:
    """Return a record as it stands in a file: `content` and `signature`.

    Raises:
        FileNotUsable: the file is missing or no record.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FileNotUsable(f"{path} cannot be read ({error.strerror or error}).") from error
    except ValueError as error:
        raise FileNotUsable(f"{path} is no record of an evaluation ({error}).") from error
    parts = found if isinstance(found, dict) else {}
    content, signature = parts.get("content"), parts.get("signature")
    if not isinstance(content, dict) or not isinstance(signature, dict) or "answers" not in content:
        raise FileNotUsable(f"{path} is no record of an evaluation: it lacks content or signature.")
    return parts


def verify(path: str | Path, *, public_key: str | None = None) -> Verification:
    """Check that a record is as it was signed, and that its points and outcome follow from its answers.

    Args:
        path: the record's JSON.
        public_key: whose signature it must be, 64 hexadecimal digits; None: anyone's, which shows only that nothing was
            changed after the signing.

    Raises:
        BadArgument: `public_key` is none.
        FileNotUsable: the file is missing or no record.
        MissingExtra: cryptography is not installed.
    """
    check_cryptography()
    if public_key is not None and _bytes(public_key, 32) is None:
        raise BadArgument(f"{public_key!r} is no public key: 64 hexadecimal digits, as `rheostat evaluate key` prints.")
    record = read_signed(path)
    content, signature = record["content"], record["signature"]
    signer = str(signature.get("public_key", "")).lower()
    problems = []
    if not _is_signed(content, signature):
        problems.append("The content is not what was signed.")
    if public_key is not None and signer != public_key.lower():
        problems.append(f"It is signed by {signer}, not by {public_key.lower()}.")
    problems += _consequences(content)
    return Verification(tuple(problems), signer, content)


def _is_signed(content: Mapping[str, Any], signature: Mapping[str, Any]) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public, value = _bytes(signature.get("public_key"), 32), _bytes(signature.get("value"), 64)
    if signature.get("algorithm") != ALGORITHM or public is None or value is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(value, as_json(dict(content)).encode())
    except (InvalidSignature, BadArgument):
        return False
    return True


def _consequences(content: Mapping[str, Any]) -> list[str]:
    """Return what in a record does not follow from the answers in it."""
    try:
        if content["format"] != FORMAT:
            return [f"Its format is {content['format']!r}; this version of rheostat reads {FORMAT!r}."]
        given = {**content["protocol"], "levels": tuple(content["protocol"]["levels"])}
        stopped = content["outcome"]["ended"]
        points, outcome = judge(
            right_by_level(content["answers"]),
            content["groups"],
            Protocol(**given),
            stopped if stopped in ("refused", "budget") else None,
        )
        found = as_json([[asdict(point) for point in points], asdict(outcome)])
        stated = as_json([content["points"], content["outcome"]])
    except (KeyError, TypeError, ValueError, AttributeError, BadArgument) as error:
        return [f"Its content is no evaluation ({type(error).__name__}: {error})."]
    return [] if found == stated else ["Its points or its outcome do not follow from its answers."]


def public_key_of(key: "Ed25519PrivateKey") -> str:
    """Return the public key of a private one, 64 hexadecimal digits."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def _bytes(text: object, length: int) -> bytes | None:
    try:
        found = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return None
    return found if len(found) == length else None
