"""What a job's profiler measured, as arrays: what rules and report read."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

STAGES = ("data_wait", "host_to_device", "forward", "backward", "optimizer", "hook")
"""Of a training step, in their order; `other` is the rest of its seconds."""


@dataclass(frozen=True)
class Series:
    """One dimension of one part of one host, such as CPUUtilization of cpu0."""

    host: str
    type: str
    """`cpu`, `gpu`, ...: SageMaker's words."""
    name: str
    """`cpu0`, `gpu1`, `MemoryUsedPercent`; may be empty."""
    dimension: str
    """`CPUUtilization`, `GPUMemoryUtilization`, `I/OWaitPercentage`, ..."""
    times: NDArray[np.float64]
    """Seconds since 1970, rising."""
    values: NDArray[np.float64]
    """Per cent, or the dimension's own unit; as long as `times`."""


@dataclass(frozen=True)
class Steps:
    """The training steps of one process, in their order."""

    host: str
    rank: int
    numbers: NDArray[np.int64]
    """Updates done before each step."""
    epochs: NDArray[np.int64]
    """From 1."""
    starts: NDArray[np.float64]
    """Seconds since 1970."""
    seconds: NDArray[np.float64]
    """Whole steps, the wait for data included."""
    stages: dict[str, NDArray[np.float64]]
    """By STAGES, seconds of each step."""
    images: NDArray[np.int64]


@dataclass(frozen=True)
class Operator:
    """From the trace: a function or an operator, and the time spent in it alone."""

    name: str
    kind: str
    """`operator`, `kernel` or `python`."""
    calls: int
    seconds: float
    share: float
    """Of the traced time, 0 to 1."""


@dataclass(frozen=True)
class Measured:
    """Empty lists where nothing was measured."""

    series: list[Series] = field(default_factory=list)
    steps: list[Steps] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    began: float | None = None
    """Seconds since 1970 of the first measurement."""
