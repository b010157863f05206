"""How many trials run side by side: by processors, by memory, by what was asked."""

import psutil

from container import resources

PER_TRIAL = 2
"""Processors that a trial makes good use of: one decodes photos while one computes."""
MEMORY_MARGIN = 1.25
"""A trial with a larger mini-batch takes more than the first one did."""


def parallel(asked: int, peak_bytes: int | None, processors: int, gpus: int) -> int:
    """At least 1; `peak_bytes` is what the first trial took, None where nobody knows."""
    by_device = gpus if gpus else max(1, processors // PER_TRIAL)
    count = min(asked, by_device)
    if peak_bytes:
        count = min(count, int(memory_free() // (peak_bytes * MEMORY_MARGIN)))
    return max(1, count)


def memory_free() -> int:
    """Bytes: the machine's, or what the container's limit leaves."""
    free: int = psutil.virtual_memory().available
    limit = resources.memory().limit
    return free if limit is None else min(free, limit)


def shares(processors: list[int], count: int) -> list[list[int]]:
    """The processors in `count` near-equal parts; shared where there are fewer than trials."""
    if count > len(processors):
        return [processors] * count
    size, more = divmod(len(processors), count)
    parts, start = [], 0
    for number in range(count):
        end = start + size + (number < more)
        parts.append(processors[start:end])
        start = end
    return parts
