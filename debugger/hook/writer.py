"""A thread that writes records, one after the other, while training goes on.

At most one record waits: where the disk is slower than the steps that are saved, training waits
for it, and the budget sees that. An error is kept for the training thread, which asks with the
next record; what comes after it is dropped.
"""

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """`write` runs in the thread; `wrote` hears each record and the seconds that it took."""

    def __init__(self, write: Callable[[T], None], wrote: Callable[[T, float], None]) -> None:
        self._write, self._wrote = write, wrote
        self._queue: queue.Queue[T | None] = queue.Queue(1)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="debugger", daemon=True)
        self._thread.start()

    def put(self, record: T) -> float:
        """The seconds that it has waited. Raises what writing an earlier one has raised."""
        self._raise()
        started = time.perf_counter()
        self._queue.put(record)
        return time.perf_counter() - started

    def close(self) -> float:
        """Returns when all is written, with the seconds. Raises what writing has raised."""
        started = time.perf_counter()
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._raise()
        return time.perf_counter() - started

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _run(self) -> None:
        failed = False
        while (record := self._queue.get()) is not None:
            if failed:
                continue
            started = time.perf_counter()
            try:
                self._write(record)
            except Exception as error:
                self._error, failed = error, True
            self._wrote(record, time.perf_counter() - started)
