"""Ends an HTTP process that is stopped or stuck, so that gunicorn starts another in its place.

gunicorn's own check compares clocks: short, it would end a process that is slow to start, and one
whose whole container was frozen for a while, as serverless endpoints are between two requests. This
one counts its own looks: after a pause both sides are late, not one. And a stopped process is known
by its state at once, without waiting for a silence.
"""

import logging
import os
import signal
import threading
import time
from typing import Any, Protocol

LOOK_SECONDS = 0.25
STOPPED_LOOKS = 2
"""In a row: a signal that stops a process may be followed by one that continues it."""
SILENT_LOOKS = 40
"""Of a process that has beaten once, and does so several times a second."""

log = logging.getLogger("gunicorn.error")


class Arbiter(Protocol):
    """What there is to see of gunicorn's parent process."""

    WORKERS: dict[int, Any]


class Heartbeat(threading.Thread):
    """Of all processes of `arbiter`, in whose process it runs."""

    def __init__(self, arbiter: Arbiter) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._arbiter = arbiter
        self._seen: dict[int, Beats] = {}

    def run(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            self._look()

    def _look(self) -> None:
        workers = list(self._arbiter.WORKERS.items())
        self._seen = {pid: self._seen.get(pid) or Beats() for pid, _ in workers}
        for pid, worker in workers:
            try:
                why = self._seen[pid].fault(is_stopped(pid), worker.tmp.last_update())
                if why is not None:
                    log.error("the HTTP process (pid %d) %s and is replaced", pid, why)
                    os.kill(pid, signal.SIGKILL)
            except (OSError, ValueError):
                continue  # it has just ended


class Beats:
    """Of one process."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._begun = False
        self._stopped = self._silent = 0

    def fault(self, stopped: bool, beat: float) -> str | None:
        """What is wrong with it after this look; `beat` is the time of its last one."""
        self._begun = self._begun or (self._last is not None and beat != self._last)
        self._silent = self._silent + 1 if beat == self._last else 0
        self._stopped = self._stopped + 1 if stopped else 0
        self._last = beat
        if self._stopped >= STOPPED_LOOKS:
            return "is stopped"
        if self._begun and self._silent >= SILENT_LOOKS:
            return f"was silent for {SILENT_LOOKS * LOOK_SECONDS:.0f} s"
        return None


def is_stopped(pid: int) -> bool:
    """By a signal, not by a debugger."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[:1] == [b"T"]
