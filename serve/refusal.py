"""Why a request is not answered with predictions: a mistake of the caller, or a busy server."""

from typing import Any, Self


class Refusal(Exception):
    """An HTTP status, a message that says what would work, and further fields of the JSON body."""

    status = 400

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    def as_dict(self) -> dict[str, Any]:
        return {"error": self.message, **self.fields}

    def bare(self) -> Self:
        """Without the frames it came through, which hold the bytes that it is about: for an error
        that is kept, of one item among others."""
        self.__traceback__ = self.__cause__ = self.__context__ = None
        return self


class PayloadError(Refusal):
    """The body, or one item of it, cannot be used: the caller should send something else."""


class TooLargeError(PayloadError):
    """More bytes, pixels or items than a limit: `fields` names the limit and what was received."""

    status = 413

    def __init__(self, message: str, *, limit: int, received: int | None) -> None:
        super().__init__(message, limit=limit, received=received)


class AcceptError(PayloadError):
    status = 406


class ContentTypeError(PayloadError):
    status = 415


class SlowClientError(Refusal):
    status = 408


class AbandonedError(Refusal):
    """The client hung up. Nobody reads this status, but the counts of answers name it."""

    status = 499


class MissingError(Refusal):
    """A model that is not loaded, or a folder that is not there."""

    status = 404


class ConflictError(Refusal):
    """The name is taken by a model that is loaded."""

    status = 409


class BrokenError(Refusal):
    """A model that can never be loaded as it is: the same request will fail in the same way."""

    status = 500


class ShortageError(Refusal):
    """Not enough memory for one more model: the platform unloads another one and tries again."""

    status = 507


class BusyError(Refusal):
    """The server cannot answer now; the same request may succeed later."""

    status = 503
    retry_seconds = 1
