"""A line for every refusal would make the log the slowest part of an overloaded server.

The first of a kind is logged at once, the others are counted, and the count is a line at the end of
each interval.
"""

import logging
import re
import threading

INTERVAL_SECONDS = 10.0
MOST_KINDS = 100
"""Of lines counted at a time; what is beyond them counts as one kind."""


class Flood:
    """Lines of one kind differ in their numbers only."""

    def __init__(self, log: logging.Logger, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._log, self._interval = log, interval_seconds
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def say(self, kind: str, line: str) -> None:
        kind = re.sub(r"\d[\d,.]*", "N", kind)
        with self._lock:
            if kind not in self._counts and len(self._counts) >= MOST_KINDS:
                kind = "other refusals"
            if kind in self._counts:
                self._counts[kind] += 1
                return
            self._counts[kind] = 0
        self._log.info("%s", line)
        self._later(kind)

    def _later(self, kind: str) -> None:
        timer = threading.Timer(self._interval, self._sum_up, (kind,))
        timer.daemon = True
        timer.start()

    def _sum_up(self, kind: str) -> None:
        with self._lock:
            count = self._counts[kind]
            if count:
                self._counts[kind] = 0
            else:
                del self._counts[kind]
        if count:
            self._log.info("%d more in %.0f s: %s", count, self._interval, kind)
            self._later(kind)
