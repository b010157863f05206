"""What /ping says: the state of every engine, and the truth about the whole."""

import logging
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

LOADING = "loading"
READY = "ready"
FAILED = "failed"

log = logging.getLogger("serve.engine")


@dataclass(frozen=True)
class State:
    name: str
    since: str
    """UTC, ISO 8601."""
    reason: str
    progress: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "state": self.name,
            "since": self.since,
            "reason": self.reason,
            "progress": self.progress,
        }


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Pinged:
    """What /ping last answered: a change is one line of the log, all the rest is silence."""

    def __init__(self) -> None:
        self._last = ""
        self._lock = threading.Lock()

    def note(self, state: State) -> None:
        with self._lock:
            changed, self._last = self._last != state.name, state.name
        if changed:
            why = f": {state.reason}" if state.reason else ""
            log.info("ping: %s%s", state.name, why)


class Readiness:
    """Every change of an engine's state is one log line."""

    def __init__(self, engines: int, model: str = "") -> None:
        """`model` is its name where there are several."""
        self._who = f"model {model}, engine" if model else "engine"
        start = State(LOADING, now(), "the engine is starting", "starting")
        self._states = [start] * engines
        self._started = [time.monotonic()] * engines
        self._starts = 0
        self._lock = threading.Lock()

    @property
    def restarts(self) -> int:
        """Starts beyond the first of each engine."""
        return max(0, self._starts - len(self._states))

    def starting(self, engine: int) -> None:
        """A process is started for it, maybe beside one that still answers."""
        self._starts += 1
        self._started[engine] = time.monotonic()

    def loading(self, engine: int, reason: str) -> None:
        self.starting(engine)
        self._set(engine, State(LOADING, now(), reason, "starting"))
        log.info("%s %d: loading: %s", self._who, engine, reason)

    def ready(self, engine: int, what: str) -> None:
        seconds = time.monotonic() - self._started[engine]
        self._set(engine, State(READY, now(), "", what))
        log.info("%s %d: ready after %.1f s: %s", self._who, engine, seconds, what)

    def failed(self, engine: int, reason: str) -> None:
        with self._lock:
            known = self._states[engine]
            if known.name == FAILED:
                return  # the first reason is the nearest to the cause
            self._states[engine] = State(FAILED, now(), reason, "waiting to start again")
        log.error("%s %d: not ready: %s", self._who, engine, reason)

    def progress(self, engine: int, text: str) -> None:
        with self._lock:
            self._states[engine] = replace(self._states[engine], progress=text)

    def log_progress(self, engine: int) -> None:
        seconds = time.monotonic() - self._started[engine]
        progress = self._states[engine].progress
        log.info("%s %d: loading for %.0f s: %s", self._who, engine, seconds, progress)

    def _set(self, engine: int, state: State) -> None:
        with self._lock:
            self._states[engine] = state

    def whole(self) -> State:
        """Ready while one engine is; else the state of an engine that is on its way."""
        with self._lock:
            states = list(self._states)
        rank = {READY: 0, LOADING: 1, FAILED: 2}
        return min(states, key=lambda state: rank[state.name])

    def any_ready(self) -> bool:
        return self.whole().name == READY
