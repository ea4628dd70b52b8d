"""What a stored number depends on, as one key: equal content has equal keys, on every machine and in every process."""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from rheostat.base.errors import BadArgument

Plain: TypeAlias = str | int | float | bool | None
"""What a label or setting may be: whatever JSON holds in one place."""

_PACKAGES = ("rheostat", "torch", "transformers")


def result_key(
    *,
    weights: str,
    plan: str,
    prompt: Sequence[int],
    metric: str,
    dtype: str,
    versions: Mapping[str, str],
    settings: Mapping[str, Plain] | None = None,
) -> str:
    """Return the SHA-256 of everything that a number depends on, 64 hexadecimal digits.

    Args:
        weights: the hash of what computes: `Network.identity`, over weights, config and anatomy.
        plan: the fingerprint of the plan (`Plan.fingerprint`).
        prompt: the token ids that ran, special tokens included.
        metric: the identifier of the bound metric (`Bound.identifier`).
        dtype: of the weights and the computation, such as `float32`.
        versions: of the packages that compute; see `versions_that_matter`.
        settings: anything else that the number depends on: how attention is computed, a seed.

    Raises:
        BadArgument: a setting is no plain JSON value.
    """
    content = {
        "weights": weights,
        "plan": plan,
        "prompt": [int(token) for token in prompt],
        "metric": metric,
        "dtype": dtype,
        "versions": dict(versions),
        "settings": dict(settings or {}),
    }
    return digest(content)


def versions_that_matter() -> dict[str, str]:
    """Return the versions of rheostat, torch and transformers: another one may compute another number."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def digest(content: object) -> str:
    """Return the SHA-256 of a JSON value, 64 hexadecimal digits.

    Raises:
        BadArgument: it holds what JSON cannot.
    """
    return hashlib.sha256(as_json(content).encode()).hexdigest()


def as_json(content: object, *, ordered: bool = True) -> str:
    """Return the one JSON text of a value: no spaces, ASCII, and keys in alphabetical order unless theirs counts.

    Raises:
        BadArgument: it holds what JSON cannot, such as NaN or an array.
    """
    try:
        return json.dumps(content, sort_keys=ordered, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadArgument(f"a store keeps texts, numbers, and lists or dicts of these; {error}.") from error
