"""How much memory a process and all that it has started hold at most."""

import threading
from contextlib import suppress
from types import TracebackType

import psutil

INTERVAL_SECONDS = 1.0


class Footprint:
    """Looks once a second while it is entered; `peak` is in bytes. Memory that processes share
    counts once for each: rather too much than too little."""

    def __init__(self, pid: int) -> None:
        self.pid, self.peak = pid, 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Footprint":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(INTERVAL_SECONDS):
            self.peak = max(self.peak, self._now())

    def _now(self) -> int:
        held = 0
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            for one in [process, *process.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    held += one.memory_info().rss
        return held
