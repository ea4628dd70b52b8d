"""Why a request is refused: one class per reason, with its HTTP status."""

from math import isfinite
from typing import ClassVar

from rheostat.base.errors import RheostatError


class Refusal(RheostatError):
    """A request that is not answered."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid_request"
    retry_after: int | None = None
    """Seconds after which it may be tried again."""

    @property
    def fields(self) -> dict[str, float | None]:
        """What the body says beside OpenAI's fields, for programs."""
        return {}


class BadRequest(Refusal):
    """The body is no request of this endpoint."""


class UnknownKey(Refusal):
    """There is no key, or none that this server knows, or it was revoked."""

    status = 401
    code = "invalid_api_key"


class BelowFloor(Refusal):
    """The impairment asked for lies below the key's floor."""

    status = 403
    code = "below_floor"

    def __init__(self, message: str, *, floor: float, asked: float | None) -> None:
        super().__init__(message)
        self.floor = floor
        self.asked = asked
        """None: the request said nothing of an impairment."""

    @property
    def fields(self) -> dict[str, float | None]:
        """Floor and impairment. The floor is no secret of its key: `/v1/key` says it too."""
        return {"floor": self.floor, "asked": self.asked if self.asked is None or isfinite(self.asked) else None}


class NotGranted(Refusal):
    """The key may not do this."""

    status = 403
    code = "not_granted"


class UnknownModel(Refusal):
    """The server serves another model."""

    status = 404
    code = "model_not_found"


class TookTooLong(Refusal):
    """The request, or its answer, did not end in time."""

    status = 408
    code = "timeout"


class TooLarge(Refusal):
    """The body is larger than the server takes."""

    status = 413
    code = "too_large"


class OverLimit(Refusal):
    """The key has used up its rate, tokens or concurrency."""

    status = 429
    code = "rate_limit_exceeded"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Busy(Refusal):
    """Too many texts wait already."""

    status = 429
    code = "queue_full"
    retry_after = 1


class Ending(Refusal):
    """The server was told to stop."""

    status = 503
    code = "ending"
    retry_after = 5


class NotRecorded(Refusal):
    """The audit log cannot be written, so nothing is answered."""

    status = 503
    code = "not_recorded"
