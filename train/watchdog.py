"""Notices a run that stands still, shows where each of its threads and processes is, and ends it.

A deadlock in a worker process or a read that never returns raises nothing: without this a job would
be billed in silence until its time is up. The thread that stands still cannot be made to raise, so
the reason is written and the process ended from here.
"""

import faulthandler
import multiprocessing
import os
import signal
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from container import failure
from container.failure import StalledError

LEAST_SECONDS = 60.0
MEDIANS = 20
"""Without a sign of life for so many times the usual interval a run counts as standing still."""
FIRST_SECONDS = 300.0
"""Until there is a usual interval: a GPU's libraries load, a bucket's first photos come slowly."""
MEASURED = 101
TICK_SECONDS = 1.0
WORK_SHARE = 0.002
"""Of a window: more processor time than that is work. Looking on takes a tenth of it."""
WORD_SECONDS = 5.0
"""For a worker's stack, or a line, to get out: the log's reader may be what stands still."""


def listen() -> None:
    """SIGUSR1 makes this process, and those forked from it, write its stacks to the log."""
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)


class Watchdog:
    """`alive` is called at every micro-batch, inside `watching`. After a window without it the
    stacks are logged, after a second one the job ends, once `rescue` has had a moment to finish
    what is being written. While the process is `excused`, waiting for others who have watchdogs of
    their own, no time passes. `stall_seconds` is the window, 0 for one of the run's own pace."""

    def __init__(
        self,
        output: Path,
        stall_seconds: float,
        where: Callable[[], str],
        rescue: Callable[[], object],
        excused: Callable[[], bool] = lambda: False,
    ) -> None:
        self._output, self._where, self._rescue = output, where, rescue
        self._excused = excused
        self._fixed = stall_seconds
        self._what = ""
        self._beats = 0
        self._beat_at = time.monotonic()
        self._more = 0.0
        self._shown = 0.0
        """Processor time that showing stacks took: it is no work."""
        self._intervals: deque[float] = deque(maxlen=MEASURED)
        listen()

    def alive(self) -> None:
        now = time.monotonic()
        self._intervals.append(now - self._beat_at)
        self._beat_at, self._more = now, 0.0
        self._beats += 1

    def expect(self, seconds: float) -> None:
        """Until the next sign of life so much longer a silence is no stall."""
        self._more = seconds

    def window(self) -> float:
        if self._fixed:
            return self._fixed + self._more
        if not self._intervals:
            return FIRST_SECONDS + self._more
        return max(LEAST_SECONDS, MEDIANS * statistics.median([*self._intervals])) + self._more

    @contextmanager
    def watching(self, what: str = "", by_work: bool = False) -> Iterator[None]:
        """`what` is done meanwhile, if it is not the run's steps; `by_work` takes processor time
        for a sign of life, where much is done that has no steps."""
        self._what = what
        signs = self._work if by_work else lambda: self._beats
        ended = threading.Event()
        self._beat_at = time.monotonic()
        thread = threading.Thread(
            target=self._watch, args=(ended, signs), name="watchdog", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _work(self) -> int:
        return int((time.process_time() - self._shown) / (WORK_SHARE * self.window()))

    def _watch(self, ended: threading.Event, signs: Callable[[], int]) -> None:
        tick = min(TICK_SECONDS, self._fixed / 4 or TICK_SECONDS)
        beats, idle, told, before = signs(), 0.0, False, time.monotonic()
        over = False
        while not over:
            over = ended.wait(tick)  # what was told is taken back even where the run ends meanwhile
            now = time.monotonic()
            # time in which this thread did not run either is a container's that was paused
            idle += 0.0 if self._excused() else min(now - before, 2 * tick)
            before = now
            if beats != signs():
                if told:
                    _out(f"stall: over after {idle:.0f} s\n")
                beats, idle, told = signs(), 0.0, False
            elif over:
                break
            elif not told and idle > self.window():
                told, worked = True, time.process_time()
                show_stacks(f"stall: no step for {idle:.0f} s in {self._what or self._where()}")
                self._shown += time.process_time() - worked
            elif told and idle > 2 * self.window():
                self._end(idle)

    def _end(self, idle: float) -> None:
        reason = failure.reason(
            StalledError(
                f"no step for {idle:.0f} s in {self._what or self._where()}; the log has the "
                "stacks of all threads and loading processes"
            )
        )
        failure.write(failure.folder(self._output), reason)
        try:
            self._rescue()
        except Exception as error:  # nothing may keep a job that stands still from ending
            _out(f"what was being written is lost: {type(error).__name__}: {error}\n")
        show_stacks(reason)
        os._exit(1)


def show_stacks(title: str) -> None:
    """All threads of this process, then of every loading process, one after the other."""
    _out(f"{title}\nstacks of the training process, {os.getpid()}:\n")
    _bounded(lambda: faulthandler.dump_traceback(file=2, all_threads=True))
    for worker in multiprocessing.active_children():
        _out(f"stacks of {worker.name}, {worker.pid}:\n")
        if worker.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGUSR1)
        time.sleep(0.3)  # it writes them itself, and two at a time would mix


def _out(text: str) -> None:
    _bounded(lambda: os.write(2, text.encode("utf-8", "backslashreplace")))


def _bounded(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(WORD_SECONDS)
