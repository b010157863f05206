"""All that is counted in this server, by model, and what its models' engines are doing now."""

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from container.settings import Settings
from serve import trace
from serve.batcher import Batcher
from serve.capture import Capture
from serve.engine.keeper import Keeper
from serve.model import Model
from serve.readiness import READY, Readiness
from serve.refusal import Refusal
from serve.tally import Tally
from serve.trace import Trace

MOST_MODELS = 256
"""Names of models that have numbers of their own. A server may load and unload thousands; what the
longest unloaded ones counted moves to `OTHER`, so that sums stay right and a scrape stays small."""
OTHER = "other"


class Watched(Protocol):
    """One model that is up, or on its way."""

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> Model: ...
    @property
    def batcher(self) -> Batcher: ...
    @property
    def readiness(self) -> Readiness: ...
    @property
    def keepers(self) -> list[Keeper]: ...


@dataclass(frozen=True)
class Facts:
    """Of one model, now."""

    name: str
    """As metrics call it."""
    model: Model
    ready: bool
    engine: str
    """What runs it and where, once it is ready; else what it is doing."""
    restarts: int
    """Starts of engines beyond the first of each."""
    waiting: int
    """Images in the queue."""
    engine_bytes: int
    """Resident memory of its engines' processes."""


class Watch:
    """`watched` gives the models that are up at the moment. Raises SettingError where photos are to
    be captured and cannot be."""

    def __init__(self, settings: Settings, watched: Callable[[], Iterable[Watched]]) -> None:
        self.settings = settings
        self.capture = Capture(settings) if settings.capture_folder else None
        self._watched = watched
        self._tallies: dict[str, Tally] = {}
        self._lock = threading.Lock()

    def label(self, name: str) -> str:
        """What metrics call a model; one that is alone has no name of its own."""
        return name or self.settings.model_name

    def tally(self, name: str) -> Tally:
        """Of the model that the platform calls so."""
        label = self.label(name)
        found = self._tallies.get(label)
        if found is not None:
            return found
        with self._lock:
            if len(self._tallies) >= MOST_MODELS:
                self._forget_one()
            return self._tallies.setdefault(label, Tally())

    def batch(self, name: str, images: int) -> None:
        """An engine took a mini-batch for the model that the platform calls so."""
        self.tally(name).batch(images)

    def _forget_one(self) -> None:
        up = {self.label(each.name) for each in self._watched()} | {OTHER}
        gone = next((label for label in self._tallies if label not in up), None)
        if gone is not None:
            numbers = self._tallies.pop(gone).numbers()
            self._tallies.setdefault(OTHER, Tally()).add(numbers)

    def tallies(self) -> dict[str, Tally]:
        with self._lock:
            return dict(self._tallies)

    def finish(self, status: int) -> tuple[Trace, float] | None:
        """Counts the thread's request, if it has one; its trace, and the seconds it took."""
        done = trace.end()
        if done is None:
            return None
        return done, self.tally(done.model).request(status, done)

    def refused(self, refusal: Refusal) -> None:
        """Counts a request that was turned away before it was known which model it asks for."""
        self.tally("").refused(refusal.status, type(refusal).__name__)

    def facts(self) -> list[Facts]:
        return [self._facts(each) for each in self._watched()]

    def _facts(self, each: Watched) -> Facts:
        state = each.readiness.whole()
        pids = [keeper.pid for keeper in each.keepers]
        return Facts(
            name=self.label(each.name),
            model=each.model,
            ready=state.name == READY,
            engine=state.progress,
            restarts=each.readiness.restarts,
            waiting=each.batcher.waiting,
            engine_bytes=sum(resident_bytes(pid) for pid in pids if pid is not None),
        )


def resident_bytes(pid: int) -> int:
    """Of one process; 0 where it is gone, or where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
