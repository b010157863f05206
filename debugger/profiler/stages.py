"""Where a training step's seconds go: marks in the loop, summed over an update's micro-batches.

A mark ends one stage and begins the next, so that nothing falls between two. On a CPU a mark reads
a clock. On a GPU the program runs ahead of the device, and a clock would show how long kernels took
to be launched: there a mark records a CUDA event, and the times between events are read once they
have passed, a step or two later. Nothing is synchronised for it. `data_wait` is then the time in
which the device had no photos, which is the part of the wait that costs anything.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import torch

from debugger.profiler.measured import STAGES
from debugger.profiler.timeline import Step

OTHER = "other"
_AT = {name: at for at, name in enumerate((*STAGES, OTHER))}
_HOOK = _AT["hook"]


class Stages:
    """Called with a stage's name at its start. `done` gets every whole step, in their order."""

    def __init__(self, device: torch.device, done: Callable[[Step], None]) -> None:
        self._done = done
        self._device = device
        self._events = _Events(device) if device.type == "cuda" else None
        self._label: Any = None
        self._to_wall_time = time.time() - time.perf_counter()
        self.labelled = False
        """Whether stages are named in the trace under way."""
        self.off = False
        self._marks: list[tuple[int, Any]] = []
        self.begin()

    def begin(self) -> None:
        """A step begins now; what was timed of one that was not finished is dropped."""
        self._begin(time.perf_counter())

    def _begin(self, now: float) -> None:
        self._unlabel()
        self._spent = [0.0] * len(_AT)
        self._hooked = [0.0] * len(_AT)
        self._now = _AT[OTHER]
        self._started = self._since = now
        if self._events is not None and not self.off:
            self._events.again(self._marks)
            self._marks = [(self._now, self._events.mark())]

    def __call__(self, name: str) -> None:
        if self.off:
            return
        at = _AT[name]
        if self._events is None:
            now = time.perf_counter()
            self._spent[self._now] += now - self._since
            self._since = now
        else:
            self._marks.append((at, self._events.mark()))
        self._now = at
        if self.labelled:
            self._unlabel()
            self._label = torch.profiler.record_function(f"stage: {name}")
            self._label.__enter__()

    def hook(self, seconds: float) -> None:
        """So much of the stage under way was the Debugger's hook, and is told apart."""
        self._hooked[self._now] += seconds

    def end(self, number: int, epoch: int, images: int) -> None:
        """The update is done; the next one begins."""
        self(OTHER)
        step = (number, epoch, images, self._started + self._to_wall_time, self._hooked)
        if self._events is None:
            self._tell(step, self._spent)
        else:
            self._events.keep(step, self._marks)
            self._marks = []
            for done, spent in self._events.passed():
                self._tell(done, spent)
        # at the same reading of the clock: nothing lies between two steps
        self._begin(time.perf_counter() if self._events is not None else self._since)

    def finish(self) -> None:
        """Waits for steps that the device is still at."""
        self._unlabel()
        if self._events is not None:
            torch.cuda.synchronize(self._device)
            for done, spent in self._events.passed():
                self._tell(done, spent)

    def _unlabel(self) -> None:
        if self._label is not None:
            self._label.__exit__(None, None, None)
            self._label = None

    def _tell(self, step: tuple[int, int, int, float, list[float]], spent: list[float]) -> None:
        number, epoch, images, started, hooked = step
        seconds = sum(spent)
        for at, hook in enumerate(hooked):
            if hook:
                moved = min(hook, spent[at])
                spent[at] -= moved
                spent[_HOOK] += moved
        self._done(Step(number, epoch, images, started, seconds, tuple(spent[: len(STAGES)])))


class _Events:
    """CUDA events, used again once they have passed."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._free: list[Any] = []
        self._under_way: deque[tuple[Any, list[tuple[int, Any]]]] = deque()

    def mark(self) -> Any:
        made: Any = torch.cuda.Event
        event = self._free.pop() if self._free else made(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def again(self, marks: list[tuple[int, Any]]) -> None:
        """Nobody will ask for the times between these."""
        self._free += [event for _, event in marks]

    def keep(self, step: Any, marks: list[tuple[int, Any]]) -> None:
        self._under_way.append((step, marks))

    def passed(self) -> list[tuple[Any, list[float]]]:
        """Steps that the device has finished, with the seconds of each stage."""
        steps = []
        while self._under_way and self._under_way[0][1][-1][1].query():
            step, marks = self._under_way.popleft()
            spent = [0.0] * len(_AT)
            for (at, event), (_, after) in zip(marks, marks[1:], strict=False):
                spent[at] += event.elapsed_time(after) / 1000
            self.again(marks)
            steps.append((step, spent))
        return steps
