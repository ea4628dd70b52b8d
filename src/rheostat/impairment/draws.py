"""`Draws`: the seeds of a request's noise, as keyed functions of who asks what.

Whoever does not know the secret cannot foresee the noise; whoever repeats a request gets the same noise, so that an
average over repetitions shows nothing that one answer does not. The seed depends on the key's id, the prompt's tokens
and the number of the draw; not on the impairment (else every level would be one more draw), nor on edits or on what is
asked for beside them.
"""

import hashlib
import hmac
from collections.abc import Sequence

N_BYTES = 32
"""Of the secret that noise is drawn from."""


class Draws:
    """Seeds below 2⁶³."""

    def __init__(self, secret: bytes) -> None:
        assert len(secret) == N_BYTES
        self._secret = secret

    def noise(self, key_id: str, ids: Sequence[int], draw: int) -> int:
        """Return the seed of the impairment of a prompt."""
        return self._seed("noise", key_id, str(draw), ids)

    def sampling(self, key_id: str, ids: Sequence[int], draw: int, seed: int | None) -> int:
        """Return the seed with which tokens are drawn; another `seed` of the user's gives another text."""
        return self._seed("sampling", key_id, f"{draw}/{seed}", ids)

    def _seed(self, use: str, key_id: str, number: str, ids: Sequence[int]) -> int:
        message = "|".join([use, key_id, number, " ".join(map(str, ids))])
        digest = hmac.new(self._secret, message.encode(), hashlib.sha256).digest()
        return int.from_bytes(digest[:8], "little") >> 1
