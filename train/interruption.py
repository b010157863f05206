"""The platform's SIGTERM: a request to stop, seen between micro-batches."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from container.failure import InterruptedFailure


class Interruption:
    """Until `protect` is called there is nothing to keep, and the signal ends the job at once;
    after it only `requested` changes, so that no update or file is cut in half."""

    def __init__(self) -> None:
        self.requested = False
        self._protected = False

    def install(self) -> None:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._handle)

    def protect(self) -> None:
        self._protected = True

    @contextmanager
    def unprotected(self) -> Iterator[None]:
        """For what may be cut: waiting, with nothing half-made."""
        before, self._protected = self._protected, False
        try:
            yield
        finally:
            self._protected = before

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.requested = True
        if not self._protected:
            name = signal.Signals(signum).name
            raise InterruptedFailure(f"stopped by {name} before training began")
