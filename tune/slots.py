"""How many trials run side by side, and with which threads and GPU each."""

import os
from collections.abc import Sequence

import psutil

from container import resources

VISIBLE = "CUDA_VISIBLE_DEVICES"
PER_TRIAL = 2
"""Processors that a trial makes good use of: one decodes photos while one computes."""
MEMORY_MARGIN = 1.25
"""A trial with a larger mini-batch takes more than the ones before."""

Slot = dict[str, str]
"""The environment of the trials in one place, one at a time."""


def plan(asked: int, peak_bytes: int) -> list[Slot]:
    """At least one, at most `asked`; `peak_bytes` is what a trial has taken so far."""
    count = resources.gpu_count()
    named = os.environ.get(VISIBLE) or ",".join(map(str, range(count)))
    gpus = [name.strip() for name in named.split(",")][:count]
    return slots(asked, peak_bytes, resources.cpu_count(), gpus, memory_free())


def slots(
    asked: int, peak_bytes: int, processors: int, gpus: Sequence[str], free_bytes: int
) -> list[Slot]:
    """`gpus`: names of those that may be used."""
    count = min(asked, len(gpus) or max(1, processors // PER_TRIAL))
    if peak_bytes:
        count = min(count, int(free_bytes / (peak_bytes * MEMORY_MARGIN)))
    if count <= 1:
        return [{}]  # with all that there is
    threads = {
        resources.PROCESSES_HERE: str(count),
        "OMP_NUM_THREADS": str(max(1, processors // count)),
    }
    if not gpus:
        return [threads] * count
    return [{**threads, VISIBLE: gpu} for gpu in gpus[:count]]


def memory_free() -> int:
    """Bytes: the machine's, or what the container's limit leaves."""
    free: int = psutil.virtual_memory().available
    limit = resources.memory().limit
    return free if limit is None else min(free, limit)
