"""Keeps one engine alive: starts it, proves it with the reference image, feeds it, replaces it.

A model that can never be loaded is given up, which ends a server that has no other; an engine that
dies after it was ready once is started again for ever, ever more slowly, while /ping says so.
"""

import logging
import threading
import time
from collections.abc import Callable

from container.failure import EngineError, ModelError, reason
from container.settings import Settings
from serve.batcher import Batcher
from serve.engine import spawn
from serve.engine.lanes import Lanes
from serve.engine.memory import MIB
from serve.engine.process import EngineLostError, EngineProcess
from serve.engine.succession import Succession
from serve.model import Model
from serve.plan import Plan
from serve.readiness import Readiness

LOG_SECONDS = 5.0
FIRST_TRIES = 3
"""Deaths before the first success after which it is given up: too little memory stays so."""
LONGEST_WAIT_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""An engine that lived so long is started again without waiting."""

log = logging.getLogger("serve.engine")


class Keeper(threading.Thread):
    def __init__(
        self,
        number: int,
        model: Model,
        settings: Settings,
        batcher: Batcher,
        readiness: Readiness,
        plan: Plan,
        gpus: int,
        give_up: Callable[[str], None],
    ) -> None:
        super().__init__(name=f"engine-{number}", daemon=True)
        self._number, self._model, self._settings = number, model, settings
        self._batcher, self._readiness = batcher, readiness
        self._plan = plan
        self._gpu = number if gpus else None
        self._proven = False
        self._give_up = give_up
        self._ended = threading.Event()
        self._process: EngineProcess | None = None

    def run(self) -> None:
        losses = 0
        why = "it is the first start"
        while not self._ended.is_set():
            started = time.monotonic()
            self._readiness.loading(self._number, why)
            try:
                self._live()
            except ModelError as error:
                why = reason(error)
                if not self._proven:
                    return self._give_up(why)
            except (EngineLostError, OSError) as error:
                why = str(error)
            except Exception as error:  # without this thread no engine would ever come back
                log.exception("an engine's keeper failed")
                why = f"{type(error).__name__}: {error}"
            losses = 1 if time.monotonic() - started > STEADY_SECONDS else losses + 1
            self._lost(why)
            if not self._proven and losses >= FIRST_TRIES and not self._ended.is_set():
                last = EngineError(f"{why}, {losses} times in a row while it was loading")
                return self._give_up(reason(last))
            pause = 0 if losses == 1 else min(LONGEST_WAIT_SECONDS, 2.0 ** (losses - 2))
            self._ended.wait(pause)
        return None

    @property
    def pid(self) -> int | None:
        """Of the engine's process, where there is one."""
        process = self._process
        return None if process is None else process.pid

    @property
    def batch_seconds(self) -> float | None:
        """Of a whole mini-batch, as the engine measured it when it warmed up; None before."""
        process = self._process
        return process.loaded.batch_seconds if process is not None and process.loaded else None

    def end(self) -> None:
        """For good; the process is gone when this thread is."""
        self._ended.set()
        process = self._process
        if process is not None:
            process.kill()
        self._batcher.wake()

    def _live(self) -> None:
        """From start to loss. Raises EngineLostError, or ModelError where another try is no use."""
        child = self._process = self._start()
        if self._ended.is_set():
            child.kill()  # `end` may have seen the one before
        child.take_over(self._progress, self._lost)
        try:
            self._prove(child)
            while True:
                self._welcome(child)
                successor = self._serve(child)
                child.retire()
                child = self._process = successor
                if self._ended.is_set():
                    child.kill()  # as above
                child.take_over(self._progress, self._lost)
        finally:
            self._process = None
            child.retire()  # why it must go is known, and not that it was killed

    def _start(self) -> EngineProcess:
        orders = spawn.orders(self._model.folder, self._settings, self._plan, self._gpu)
        planned = spawn.environment(self._plan.threads, self._gpu)
        return EngineProcess(orders, planned)

    def _prove(self, child: EngineProcess) -> None:
        """Waits until it has loaded, then sends the reference image the way of every photo."""
        while not child.settled.wait(LOG_SECONDS):
            self._readiness.log_progress(self._number)
        if child.final:
            cause = (child.lost or "").removeprefix(f"{ModelError.name}: ")
            cause, _, fix = cause.partition("; fix: ")
            raise ModelError(cause, fix or None)
        if child.loaded is None:
            raise EngineLostError(child.lost)
        child.progress("classifying the reference image")
        answer = child.classify([self._model.reference], len(self._model.labels))[0]
        self._model.check(child.loaded.engine, answer)

    def _welcome(self, child: EngineProcess) -> None:
        """What is proven answers from here on."""
        self._proven = True
        assert child.loaded is not None
        where = "cpu" if self._gpu is None else f"gpu {self._gpu}"
        streams = child.loaded.streams
        at_a_time = f", {streams} batches at a time" if streams > 1 else ""
        self._readiness.ready(
            self._number,
            f"{child.loaded.engine} on {where}, {self._plan.threads} threads{at_a_time}, up to "
            f"{self._settings.batch_images or child.loaded.batch_images} photos a mini-batch"
            + (f" ({child.loaded.note})" if child.loaded.note else ""),
        )
        self._batcher.open()

    def _serve(self, child: EngineProcess) -> EngineProcess:
        """Until a new engine is ready in its place, which is returned. Raises EngineLostError."""
        most = self._settings.engine_memory_mib * MIB
        succession = Succession(child, most, self._successor, self._batcher.wake)
        succession.start()

        def over() -> bool:
            return succession.over() or self._ended.is_set()

        assert child.loaded is not None
        batch = self._settings.batch_images or child.loaded.batch_images
        classes = len(self._model.labels)
        lost: EngineLostError | None = None
        try:
            Lanes(child, self._batcher, batch, classes, over).run()
        except EngineLostError as error:
            lost = error
        successor = succession.end()
        if successor is None:
            raise lost or EngineLostError(succession.why)
        return successor

    def _successor(self, succession: Succession) -> EngineProcess:
        """Another engine, proven while the old one answers. Raises as `_live` does."""
        self._readiness.starting(self._number)
        child = self._start()
        succession.adopt(child)
        try:
            self._prove(child)
        except BaseException:
            child.retire()
            raise
        return child

    def _progress(self, text: str) -> None:
        self._readiness.progress(self._number, text)

    def _lost(self, why: str) -> None:
        """/ping is red from here on; without another engine nothing waits any longer."""
        if self._ended.is_set():
            return
        self._readiness.failed(self._number, why)
        if not self._readiness.any_ready():
            self._batcher.close(why)
        self._batcher.wake()


def start(
    model: Model,
    settings: Settings,
    batcher: Batcher,
    readiness: Readiness,
    plan: Plan,
    gpus: int,
    give_up: Callable[[str], None],
) -> list[Keeper]:
    """One engine for each GPU, or one on the CPU; all are fed from one queue."""
    keepers = [
        Keeper(number, model, settings, batcher, readiness, plan, gpus, give_up)
        for number in range(gpus or 1)
    ]
    for keeper in keepers:
        keeper.start()
    return keepers
