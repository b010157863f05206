"""A new engine for one that grows: proven beside it while the old one still answers."""

import logging
import threading
import time
from collections.abc import Callable

from container.failure import ModelError
from serve.engine.memory import MIB, Guard, Verdict, size
from serve.engine.process import EngineLostError, EngineProcess

CHECK_SECONDS = 0.5
YOUNG_SECONDS = 60.0
"""Of traffic or not: an engine finds its size within so long."""
RETRY_SECONDS = 30.0
"""After a new engine that could not be made ready: the old one still answers."""

log = logging.getLogger("serve.engine")


class Succession(threading.Thread):
    """Of one engine. `make` starts another and returns it proven, or raises; `wake` tells the
    lanes to ask `over`."""

    def __init__(
        self,
        child: EngineProcess,
        most: int,
        make: Callable[["Succession"], EngineProcess],
        wake: Callable[[], None],
    ) -> None:
        super().__init__(name="succession", daemon=True)
        self._child, self._make, self._wake = child, make, wake
        first = size(child.pid)
        self._guard = None if first is None else Guard(first, most)
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._making: EngineProcess | None = None
        self._ready: EngineProcess | None = None
        self.why: str | None = None
        """Why the engine must go before another one starts: both do not fit."""

    def over(self) -> bool:
        return self._ready is not None or self.why is not None

    def adopt(self, successor: EngineProcess) -> None:
        """Called by `make` as soon as the process exists, so that `end` can end it."""
        with self._lock:
            self._making = successor
            if self._ended.is_set():
                successor.kill()

    def end(self) -> EngineProcess | None:
        """Watches no longer. The successor that is ready, if there is one."""
        self._ended.set()
        with self._lock:
            if self._making is not None and self._ready is None:
                self._making.kill()
        self.join()
        return self._ready

    def run(self) -> None:
        not_before, young_until = 0.0, time.monotonic() + YOUNG_SECONDS
        while self._guard is not None and not self.over():
            if self._ended.wait(CHECK_SECONDS):
                return
            now = size(self._child.pid)
            if now is None:
                return
            if time.monotonic() < young_until:
                self._guard.settle(now)
            verdict = self._guard.verdict(now)
            grown = f"the engine has grown from {self._guard.first.now // MIB:,} to " + (
                f"{now.now // MIB:,} MiB"
            )
            if verdict is Verdict.REPLACE_AFTER:
                self.why = f"{grown} and is replaced; the memory limit leaves no room for two"
            elif verdict is Verdict.REPLACE_BESIDE and time.monotonic() >= not_before:
                log.warning("%s; a new one is started beside it", grown)
                self._try()
                not_before = time.monotonic() + RETRY_SECONDS
        self._wake()

    def _try(self) -> None:
        try:
            successor = self._make(self)
        except (EngineLostError, ModelError, OSError) as error:
            self._making = None
            if not self._ended.is_set():
                log.warning("the new engine is not ready, the old one goes on: %s", error)
            return
        self._ready = successor
