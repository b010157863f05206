"""The axis of time: how far into the job something was, and where its epochs began."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from debugger.profiler.measured import Measured, Steps
from debugger.report.thinning import spread
from debugger.report.words import UNITS

MOST_MARKS = 24


@dataclass(frozen=True)
class Clock:
    began: float
    """Seconds since 1970."""
    ended: float
    divisor: float
    unit: str

    def __call__(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        return (np.asarray(times, np.float64) - self.began) / self.divisor

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def clock(measured: Measured) -> Clock | None:
    """None where nothing was measured."""
    # a step may have begun long before it was measured, and clocks of hosts may differ
    times = [each.times for each in measured.series] + [each.starts for each in measured.steps]
    finite = [kept for each in times if len(kept := each[np.isfinite(each)])]
    if not finite:
        return None
    began = min(float(each.min()) for each in finite)
    if measured.began is not None:
        began = min(began, measured.began)
    ends = [float(each.max()) for each in finite]
    ends += [float(each.starts[-1] + each.seconds[-1]) for each in measured.steps
             if len(each.starts) and np.isfinite(each.seconds[-1])]  # fmt: skip
    ended = max(ends)
    divisor, unit = next(
        ((size, name) for size, name in UNITS if ended - began >= 2 * size), UNITS[-1]
    )
    return Clock(began, ended, divisor, unit)


def epochs(steps: Steps) -> list[tuple[int, int]]:
    """Number of each epoch and the place of its first step, of a bounded number of them."""
    if not len(steps.epochs):
        return []
    places = np.flatnonzero(np.diff(steps.epochs, prepend=steps.epochs[0] - 1))
    return spread([(int(steps.epochs[at]), int(at)) for at in places], MOST_MARKS)


def leading(measured: Measured, host: str | None = None) -> Steps | None:
    """The steps of the first process, of that host or of all."""
    own = [each for each in measured.steps
           if len(each.numbers) and host in (None, each.host)]  # fmt: skip
    return min(own, key=lambda each: each.rank, default=None)


def marks(measured: Measured, made: Clock) -> list[tuple[float, str]]:
    """Where epochs began, on the axis of time."""
    steps = leading(measured)
    if steps is None:
        return []
    found = epochs(steps)
    every = max(1, -(-len(found) // 10))
    return [
        (float(made(steps.starts[at : at + 1])[0]), f"epoch {epoch}" if place % every == 0 else "")
        for place, (epoch, at) in enumerate(found)
        if np.isfinite(steps.starts[at])
    ]
