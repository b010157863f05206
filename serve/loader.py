"""Loads and unloads the models of a server that has many: one engine process for each.

A load answers when the model has classified its reference image, an unload when the engine's
process is gone. Neither lets the others wait, except that few engines start at a time.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from artifact.archive import ArtifactError
from container.failure import ModelError, reason
from container.settings import MIB, Settings
from serve import budget, entry, place
from serve.budget import Budget, Holding, Verdict
from serve.engine import memory
from serve.model import Model
from serve.plan import BYTES_PER_PIXEL, Plan
from serve.refusal import BrokenError, BusyError, Refusal, ShortageError
from serve.registry import GOING_SECONDS, UP, Registry, Slot
from serve.watch import Watch

LOAD_SECONDS = 360.0
"""The platform waits no longer for a model to load."""
DRAIN_SECONDS = 20.0
"""Time for the requests in hand of a model that is unloaded; then they are refused."""
LOOK_SECONDS = 0.02
LEAST_TURNS = 2

log = logging.getLogger("serve.models")


class Loader:
    """`models` is the folder below which the platform unpacks models."""

    def __init__(
        self, settings: Settings, plan: Plan, registry: Registry, watch: Watch, models: Path
    ) -> None:
        self._settings, self._plan, self._models = settings, plan, models
        self._registry, self._watch = registry, watch
        photos = plan.decoding * settings.max_pixels * BYTES_PER_PIXEL
        self._budget = Budget(settings.models_memory_mib * MIB, photos)
        # imports and warming up take all processors: more at a time would only all be late
        self._turns = threading.BoundedSemaphore(max(LEAST_TURNS, plan.processors))

    def load(self, name: object, url: object) -> Slot:
        """Raises a Refusal: PayloadError or MissingError for what cannot be a model, ConflictError
        where it is loaded, ShortageError for want of memory, BrokenError for the model's faults."""
        started = time.monotonic()
        slot_name, folder = place.name_of(name), place.folder_of(url, self._models)
        try:
            model = Model.read(folder)
            size = budget.size_of(model.folder, self._settings.precision)
        except (ModelError, ArtifactError, OSError) as error:
            why = reason(error) if isinstance(error, ModelError) else str(error)
            raise _broken(slot_name, why) from error
        slot = Slot(slot_name, str(url), size)
        self._registry.take(slot, lambda others: self._reserve(slot, others))
        try:
            with self._turn(slot):
                self._start(slot, model)
        except BaseException:
            self._drop(slot, "the model could not be loaded")
            raise
        seconds = time.monotonic() - started
        log.info(
            "model %s: loaded in %.1f s, %d MiB: %s", name, seconds, slot.promised // MIB, folder
        )
        return slot

    def unload(self, name: str) -> Slot:
        """Returns when the memory is free. Requests in hand are answered, late ones refused. Raises
        MissingError."""
        slot = self._registry.leave(name)
        if slot.cancelled.is_set() or slot.entry is None:
            slot.gone.wait(GOING_SECONDS)
            return slot
        started = time.monotonic()
        if not slot.entry.traffic.end(DRAIN_SECONDS):
            log.warning("model %s: requests are in hand after %.0f s", name, DRAIN_SECONDS)
        self._drop(slot, "the model is being unloaded")
        log.info("model %s: unloaded in %.1f s", name, time.monotonic() - started)
        return slot

    def _reserve(self, slot: Slot, others: list[Slot]) -> None:
        """Promises the memory. Raises ShortageError, with what could go."""
        assert slot.size is not None
        verdict = self._budget.weigh(slot.size, [_holding(each) for each in others])
        if not verdict.fits:
            raise _shortage(slot.name, verdict)
        slot.promised = self._budget.need(slot.size)

    @contextmanager
    def _turn(self, slot: Slot) -> Iterator[None]:
        deadline = time.monotonic() + LOAD_SECONDS
        while not self._turns.acquire(timeout=LOOK_SECONDS):
            if slot.cancelled.is_set() or time.monotonic() > deadline:
                raise BusyError(f"model {slot.name!r} did not get its turn to load")
        try:
            yield
        finally:
            self._turns.release()

    def _start(self, slot: Slot, model: Model) -> None:
        """Starts the engine and waits until it has proven itself."""
        failures: list[str] = []
        taken = partial(self._watch.batch, slot.name)
        slot.entry = entry.start(
            slot.name, model, self._settings, self._plan, 0, taken, failures.append
        )
        deadline = time.monotonic() + LOAD_SECONDS
        while not slot.entry.readiness.any_ready():
            if failures:
                raise self._why(slot, failures[0])
            if time.monotonic() > deadline:
                raise _broken(slot.name, f"it was not ready within {LOAD_SECONDS:.0f} s")
            if slot.cancelled.wait(LOOK_SECONDS):
                break
        self._learn(slot, slot.entry)
        if not self._registry.up(slot):
            raise BusyError(f"model {slot.name!r} was unloaded while it was loading")

    def _learn(self, slot: Slot, started: entry.Entry) -> None:
        for pid in started.pids():
            seen = memory.size(pid)
            if seen is not None and slot.size is not None:
                self._budget.learn(slot.size, seen)
                slot.promised = seen.now

    def _why(self, slot: Slot, failure: str) -> Refusal:
        """The kernel ends a process so where memory runs out: what was estimated was too little."""
        if "SIGKILL" not in failure or slot.size is None:
            return _broken(slot.name, failure)
        others = [_holding(each) for each in self._registry.slots() if each is not slot]
        return _shortage(slot.name, self._budget.weigh(slot.size, others), failure)

    def _drop(self, slot: Slot, why: str) -> None:
        if slot.entry is not None:
            slot.entry.close(why)
        self._registry.remove(slot)


def _holding(slot: Slot) -> Holding:
    """Of a model that is up, on its way, or going: memory is held until its process has ended."""
    seen = [memory.size(pid) for pid in (slot.entry.pids() if slot.entry else [])]
    taken = [each for each in seen if each is not None]
    return Holding(
        slot.name,
        slot.size.kind if slot.size else budget.TORCH,
        slot.promised,
        sum(each.now for each in taken),
        slot.entry.traffic.idle_seconds() if slot.entry else 0.0,
        slot.state == UP,
        max((each.shared for each in taken), default=0),
    )


def _broken(name: str, why: str) -> BrokenError:
    return BrokenError(f"model {name!r} cannot be loaded: {why}")


def _shortage(name: str, verdict: Verdict, failure: str = "") -> ShortageError:
    """What is needed, what there is, and what could go, the least recently used first."""
    could_go = [
        {"modelName": each.name, "bytes": budget.held(each), "idle_seconds": each.idle_seconds}
        for each in verdict.could_go
    ]
    names = ", ".join(each.name for each in verdict.could_go)
    if verdict.fits:
        way = f"too little after all: {failure}"
    elif not could_go:
        way = "no loaded model could make room"
    else:
        way = f"unloading {names} would {'' if verdict.enough else 'not '}make room"
    return ShortageError(
        f"model {name!r} needs {verdict.need // MIB:,} MiB, {verdict.free // MIB:,} MiB are free; "
        f"{way}",
        need_bytes=verdict.need,
        free_bytes=verdict.free,
        could_go=could_go,
    )
