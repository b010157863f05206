"""The requests that use one model: how many are in hand, when the last one was, and their end."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from serve.refusal import MissingError


class Traffic:
    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._in_hand = 0
        self._closed = False
        self._last = time.monotonic()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Around a request. Raises MissingError once the model is going."""
        with self._changed:
            if self._closed:
                raise MissingError(f"model {self._name!r} is not loaded: it is being unloaded")
            self._in_hand += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_hand -= 1
                self._last = time.monotonic()
                self._changed.notify_all()

    def idle_seconds(self) -> float:
        """Since the last request, or the start; 0 while there is one."""
        with self._changed:
            return 0.0 if self._in_hand else time.monotonic() - self._last

    def end(self, seconds: float) -> bool:
        """Lets nothing more begin, and waits for what has begun: whether that ended in time."""
        with self._changed:
            self._closed = True
            return self._changed.wait_for(lambda: self._in_hand == 0, seconds)
