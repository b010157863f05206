"""How much of each machine was used: the measured series of one host, brought together."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from debugger.profiler.measured import Measured, Series, Steps

Floats = NDArray[np.float64]
CPU, GPU, GPU_MEMORY = "CPUUtilization", "GPUUtilization", "GPUMemoryUtilization"
IO_WAIT, MEMORY = "I/OWaitPercentage", "MemoryUsedPercent"


@dataclass(frozen=True)
class Share:
    """A per cent over time."""

    times: Floats
    values: Floats
    parts: int
    """Processors or GPUs that it is the mean of."""

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def highest(self) -> float:
        return float(np.max(self.values))

    def percentile(self, part: float) -> float:
        return float(np.percentile(self.values, part))


@dataclass(frozen=True)
class Usage:
    """Of one host; None where it was not measured."""

    host: str
    cpu: Share | None
    memory: Share | None
    io_wait: Share | None
    gpu: Share | None
    gpu_memory: Share | None
    """Of the GPU that is fullest at each moment."""


def hosts(measured: Measured) -> list[str]:
    found = {series.host for series in measured.series} | {steps.host for steps in measured.steps}
    return sorted(found)


def usage(measured: Measured, host: str) -> Usage:
    own = [series for series in measured.series if series.host == host]

    def named(what: str) -> list[Series]:
        return [series for series in own if what in (series.dimension, series.name)]

    return Usage(
        host,
        mean(named(CPU)),
        mean(named(MEMORY)),
        mean(named(IO_WAIT)),
        mean(named(GPU)),
        together(named(GPU_MEMORY), np.max),
    )


def mean(series: Iterable[Series]) -> Share | None:
    return together(series, np.mean)


def together(series: Iterable[Series], how: Callable[..., Any]) -> Share | None:
    """Series of the same kind as one, on the times of the longest of them."""
    finite = [keep for each in series if (keep := _finite(each)) is not None]
    if not finite:
        return None
    times = max((times for times, _ in finite), key=len)
    rows = [
        values if len(own) == len(times) and np.array_equal(own, times)
        else np.interp(times, own, values)
        for own, values in finite
    ]  # fmt: skip
    return Share(times, np.asarray(how(np.stack(rows), axis=0), np.float64), len(rows))


def _finite(series: Series) -> tuple[Floats, Floats] | None:
    keep = np.isfinite(series.values) & np.isfinite(series.times)
    return (series.times[keep], series.values[keep]) if keep.any() else None


@dataclass(frozen=True)
class Pace:
    """Where the seconds of a process's steps went."""

    steps: int
    seconds: float
    """Of all steps but the first, which also starts workers and warms up."""
    images: int
    waiting: float
    """Share of `seconds` spent waiting for data."""

    @property
    def per_step(self) -> float:
        return self.seconds / self.steps


def pace(steps: Steps) -> Pace | None:
    whole = np.asarray(steps.seconds, np.float64)
    later = slice(1, None) if len(whole) > 1 else slice(None)
    keep = np.isfinite(whole[later])
    seconds = float(whole[later][keep].sum())
    if seconds <= 0:
        return None
    waits = np.asarray(steps.stages.get("data_wait", np.zeros(len(whole))), np.float64)[later][keep]
    images = int(steps.images[later][keep].sum())
    return Pace(int(keep.sum()), seconds, images, float(np.nansum(waits)) / seconds)
