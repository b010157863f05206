"""One process's profiler, from the job's start to its end: what training tells it and asks of it.

An error in it is said once and turns it off, never the job.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from debugger.profiler import operators, summary
from debugger.profiler.sampler import Sampler
from debugger.profiler.settings import Settings, Watched
from debugger.profiler.stages import Stages
from debugger.profiler.summary import Times, Traced
from debugger.profiler.timeline import Step, Timeline
from debugger.profiler.trace import Tracer


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which process this is, and of what."""

    host: str
    host_number: int
    """From 1, in the order of the hosts' names."""
    rank: int = 0
    local_rank: int = 0
    world: int = 1
    device: torch.device
    output: Path
    """Folder of the job's results; the leader's trace and `profile.json` lie there."""


class Profiler:
    """`stage` is called at the start of each stage of a step; see `stages.Stages`."""

    def __init__(self, watched: Watched, place: Place, say: Callable[[str], None]) -> None:
        self._watched, self._place, self._say = watched, place, say
        settings = watched.now
        self._off = not settings.enabled and not watched.asked
        self._times = Times()
        self._stages = Stages(place.device, self._done)
        self.stage: Callable[[str], None] = _nothing if self._off else self._stages
        self._timeline = Timeline(settings, place.host, place.rank)
        self._tracer = Tracer(place.output, place.device, say)
        self.sampler: Sampler | None = None
        self._closed = False
        self.batch_size: int | None = None
        if place.rank == 0:
            self._tracer.ask(settings.trace)
        if place.local_rank == 0 and not self._off:
            self.sampler = Sampler(
                watched, place.host, place.host_number, say, self._settings_changed
            )

    def start(self) -> None:
        """Samples from here on."""
        if self._place.rank == 0:
            self._say_settings(self._watched.now)
        if self.sampler is not None:
            self.sampler.start()

    def _say_settings(self, settings: Settings) -> None:
        for note in settings.notes:
            self._say(f"profiler: {note}")
        if settings.enabled:
            every = f"{1000 * settings.interval_seconds:g} ms"
            self._say(f"profiler: step times, and the machine every {every}, in {settings.folder}")

    def _settings_changed(self, settings: Settings) -> None:
        self._timeline.settings = settings
        if self._place.rank == 0:
            if settings.trace is not None:
                self._tracer.ask(settings.trace)
            self._say_settings(settings)

    def loaders(self, processes: int | None) -> None:
        """So many processes decode photos from here on; None: nobody does."""
        if self.sampler is not None:
            self.sampler.loaders = processes

    def hook(self, seconds: float) -> None:
        """So much of the stage under way was the Debugger's hook."""
        self._stages.hook(seconds)

    def begin(self, step: int) -> None:
        """Steps come now, the first with so many updates done before it."""
        self._try(self._begin, step)

    def _begin(self, step: int) -> None:
        self._tracer.begin(step)
        self._stages.labelled = self._tracer.running
        self._stages.begin()

    def step_done(self, step: int, epoch: int, images: int) -> None:
        """An update with so many done before it is made; the next one begins."""
        self._try(self._step_done, step, epoch, images)

    def _step_done(self, step: int, epoch: int, images: int) -> None:
        if self._tracer.running:  # slower than others: it stands in the trace alone
            self._stages.begin()
            self._tracer.done()
            if not self._tracer.running:
                self._begin(step + 1)
            return
        self._stages.end(step, epoch, images)
        self._tracer.begin(step + 1)
        if self._tracer.running:
            self._begin(step + 1)

    def pause(self) -> None:
        """What comes now is no step, until `begin`."""
        self._try(self._pause)

    def _pause(self) -> None:
        self._stages.begin()
        self._tracer.stop()
        self._stages.labelled = False

    def _done(self, step: Step) -> None:
        self._times.add(step)
        if self._watched.now.enabled:
            self._timeline.add(step)

    def abandon(self) -> None:
        """Ends what is under way, without a word: the job has failed, or `close` was called."""
        if self._closed:
            return
        self._closed = True
        if not self._off:
            self._timeline.close()
        if self.sampler is not None:
            self.sampler.close()

    def close(self) -> None:
        """The end: closes the files; the leader writes `profile.json` and says what is in it."""
        if self._closed:
            return
        self._try(self._pause)
        self._try(self._stages.finish)
        self.abandon()
        if self._place.rank == 0 and self._watched.now.enabled:
            self._try(self._summarise)

    def _summarise(self) -> None:
        sampler, device = self.sampler, self._place.device.type
        spreads = {} if sampler is None else sampler.spreads
        facts = {} if sampler is None else sampler.facts()
        loaders = None if sampler is None else sampler.loaders
        traced = self._read_trace()
        found = summary.shares(self._times, device, self._place.world, spreads, traced)
        use = summary.use_of(spreads, facts, self._times, loaders, self.batch_size)
        sampling = facts if sampler is None else {
            **facts,
            "interval_seconds": sampler.interval_seconds,
            "samples": sampler.samples,
            "cpu_seconds": sampler.cpu_seconds,
            "seconds": time.time() - sampler.began,
        }  # fmt: skip
        made = summary.make(self._times, use, found, device, spreads, sampling, traced)
        self._place.output.mkdir(parents=True, exist_ok=True)
        path = self._place.output / summary.NAME
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)
        for line in summary.lines(made):
            self._say(line)

    def _read_trace(self) -> Traced | None:
        tracer = self._tracer
        if tracer.path is None:
            return None
        found = operators.read(tracer.path, tracer.seconds)
        on_gpu = self._place.device.type == "cuda"
        sync = found.waited_seconds / tracer.seconds if on_gpu else None
        # of processors the sampler knows better: loading processes use them, too
        idle = 1 - found.device_seconds / tracer.seconds if on_gpu else None
        return Traced(
            file=tracer.path.name, first=tracer.first, steps=tracer.steps, seconds=tracer.seconds,
            sync=None if sync is None else min(sync, 1.0),
            idle=None if idle is None else min(max(idle, 0.0), 1.0), operators=found.operators,
        )  # fmt: skip

    def _try(self, call: Callable[..., None], *arguments: Any) -> None:
        if self._off:
            return
        try:
            call(*arguments)
        except Exception as error:  # whatever is wrong with the profiler, the job goes on
            self._off = self._stages.off = True
            self._say(f"profiler: turned off: {type(error).__name__}: {error}")


def _nothing(name: str) -> None: ...
