"""A trace of some steps by torch.profiler, with Python's stacks: what ui.perfetto.dev opens.

Traced steps are slower than others and are left out of the step times. A trace ends early where an
epoch does: the evaluation is no step.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from debugger.profiler.settings import MOST_TRACED_STEPS, Trace


class Tracer:
    """Told of every step. Raises nothing: a trace that fails is given up, in a line."""

    def __init__(self, folder: Path, device: torch.device, say: Callable[[str], None]) -> None:
        self._folder, self._device, self._say = folder, device, say
        self._profile: Any = None
        self._asked: Trace | None = None
        self._began = 0.0
        self.first = self.steps = 0
        self.path: Path | None = None
        """Of the last finished trace."""
        self.seconds = 0.0
        """That its steps took, under the tracer."""

    @property
    def running(self) -> bool:
        return self._profile is not None

    def ask(self, trace: Trace | None) -> None:
        """From here on this is wanted; one that is under way goes on to its end."""
        self._asked = trace

    def begin(self, step: int) -> None:
        """`step` is about to begin: starts a trace that is due."""
        if self._profile is None and self._asked is not None and self._due(self._asked, step):
            self._start(step)

    def done(self) -> None:
        """A traced step is done: ends the trace after its last."""
        if self._profile is None:
            return
        self.steps += 1
        asked = self._running
        if asked.by_time:
            over = asked.seconds is None or time.time() >= self._until
        else:
            over = self.steps >= asked.steps
        if over or self.steps >= MOST_TRACED_STEPS:
            self.stop()

    def _due(self, asked: Trace, step: int) -> bool:
        if asked.by_time:
            now, starts = time.time(), asked.starts or 0.0
            return starts <= now and (asked.seconds is None or not starts
                                      or now < starts + asked.seconds)  # fmt: skip
        # a run that is resumed past the first step still traces what is left
        return asked.first is None or asked.first <= step < asked.first + asked.steps

    def _start(self, step: int) -> None:
        assert self._asked is not None
        self._running, self._asked = self._asked, None
        if self._running.first is not None and not self._running.by_time:
            left = self._running.first + self._running.steps - step
            self._running = Trace(first=step, steps=left)
        # its library writes lines of its own to standard error, unless it is told not to
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self._device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        try:
            profile = torch.profiler.profile(activities=activities, with_stack=True)
            profile.start()
        except RuntimeError as error:  # another profiler is at work in this process
            self._say(f"profiler: no trace: {error}")
            return
        self._profile, self.first, self.steps = profile, step, 0
        self._began = time.perf_counter()
        self._until = time.time() + (self._running.seconds or 0.0)

    def stop(self) -> None:
        """Ends the trace under way, and writes it; one without a whole step is begun anew."""
        if self._profile is None:
            return
        profile, self._profile = self._profile, None
        if not self.steps:
            self._asked = self._running
            profile.stop()
            return
        try:
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            self.seconds = time.perf_counter() - self._began
            profile.stop()
            last = self.first + self.steps - 1
            path = self._folder / f"trace-steps-{self.first}-{last}.json.gz"
            self._folder.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f".{os.getpid()}.json.gz")
            profile.export_chrome_trace(str(unfinished))
            unfinished.replace(path)
        except (OSError, RuntimeError) as error:
            self._say(f"profiler: the trace is lost: {error}")
            return
        self.path = path
        self._say(f"profiler: steps {self.first} to {last} traced, for ui.perfetto.dev: {path}")
