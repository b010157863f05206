"""Writes in the background: training goes on while a checkpoint reaches the disk.

One write is under way at most, and one waits; a newer one takes the place of the one that waits. So
memory is bounded, and a slow disk makes checkpoints rarer, never training slower.
"""

import threading
import time
from collections.abc import Callable

Write = Callable[[], None]


class Writer:
    """Runs what it is given, in order, in a thread that lives as long as there is work. The error
    of a write is raised in the training thread, by the next call."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """What the last write took."""
        self._changed = threading.Condition()
        self._waiting: Write | None = None
        self._busy = False
        self._error: BaseException | None = None

    def put(self, write: Write) -> None:
        self.check()
        with self._changed:
            self._waiting = write
            if not self._busy:
                self._busy = True
                # a daemon: a disk that hangs must not hold up the end of a job that has failed
                threading.Thread(target=self._run, name="writer", daemon=True).start()

    def check(self) -> None:
        """Raises the error of an earlier write, once."""
        with self._changed:
            error, self._error = self._error, None
        if error is not None:
            raise error

    def drain(self, timeout: float | None = None) -> bool:
        """Waits until all that was put is written, or the time is up; returns which."""
        with self._changed:
            written = self._changed.wait_for(lambda: not self._busy, timeout)
        self.check()
        return written

    def _run(self) -> None:
        while (write := self._next()) is not None:
            started = time.monotonic()
            try:
                write()
            except BaseException as error:  # raised again where somebody can hear it
                with self._changed:
                    self._error, self._waiting = error, None
            self.seconds = time.monotonic() - started

    def _next(self) -> Write | None:
        with self._changed:
            write, self._waiting = self._waiting, None
            if write is None:
                self._busy = False
                self._changed.notify_all()
            return write
