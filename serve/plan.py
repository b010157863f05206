"""How the processors are shared out: what computes, what decodes, and how much of each at a time.

The container's share counts, not the machine: the affinity mask, cut to the control group's quota.
Threads beyond it are throttled by the kernel, all of them together and for whole periods.
"""

from dataclasses import dataclass
from pathlib import Path

from container import resources
from container.settings import Settings

THREADS_PER_STREAM = 4
"""One mini-batch on so many processors is answered soonest; beyond that, threads wait for each
other at every layer, and another mini-batch beside it makes more of them."""

MOST_SPLIT = 16
"""Threads that compute a mini-batch each under load, which takes an engine's graph a second time
and room for the numbers of each. Beyond it nothing changes, unmeasured: so many at a time would
wait for memory."""

BYTES_PER_PIXEL = 10
"""Of a photo while it is decoded, in the worst case: `artifact.preprocess` is tested for it."""


def decoding_places(processors: int, max_pixels: int, memory: int | None) -> int:
    """One for each processor, as far as half of the container's memory (bytes; None: no limit)
    holds photos of the most pixels; one at least."""
    if memory is None:
        return processors
    return max(1, min(processors, memory // 2 // (max_pixels * BYTES_PER_PIXEL)))


@dataclass(frozen=True)
class Plan:
    processors: int
    """Of this container, by mask and quota."""
    quota: float | None
    engines: int
    """One for each GPU, or one on the processors."""
    streams: int
    """Mini-batches that one engine computes at a time, if it can: under load, each by few threads.
    """
    streams_alone: int
    """Mini-batches up to which all threads share the work, so that each is answered soonest."""
    threads: int
    """Processors of one engine, all its streams together."""
    decoding: int
    """Bodies that are decoded at a time."""

    @classmethod
    def make(cls, settings: Settings, gpus: int, root: Path = Path("/")) -> "Plan":
        processors, engines = resources.cpu_count(root), max(1, gpus)
        threads = settings.engine_threads or max(1, processors // engines)
        alone = 1 if gpus else max(1, threads // THREADS_PER_STREAM)
        split = not gpus and settings.multi_model != "true" and threads <= MOST_SPLIT
        told = min(settings.engine_streams, threads)
        return cls(
            processors=processors,
            quota=resources.cpu_quota(root),
            engines=engines,
            streams=told or (threads if split else alone),
            streams_alone=told or alone,
            threads=threads,
            decoding=decoding_places(processors, settings.max_pixels, resources.memory(root).limit),
        )

    def line(self, settings: Settings) -> str:
        quota = "no quota" if self.quota is None else f"quota {self.quota:g}"
        return (
            f"plan: {self.processors} processors ({quota}): {self.engines} engine(s) of "
            f"{self._streams()} and {self.threads} threads, at most "
            f"{settings.most_batch_images} photos a mini-batch; {self.decoding} bodies decoded and "
            f"{settings.request_limit} requests held at a time, {settings.queue_images} photos may "
            "wait"
        )

    def _streams(self) -> str:
        if self.streams == self.streams_alone:
            return f"{self.streams} stream(s)"
        return f"{self.streams_alone} stream(s), {self.streams} under load,"
