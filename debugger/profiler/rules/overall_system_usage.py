"""OverallSystemUsage: how much of each host was used; never an issue.

max, p99, p95, p50 and min of every resource, as the platform's report has them: processors and I/O
wait are means over the cores, GPUs over the GPUs, network and disk in bytes a second.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from debugger.profiler.measured import Measured
from debugger.profiler.rules import points
from debugger.profiler.rules.outcome import absent, fine
from debugger.verdict import Verdict

DEFAULTS: dict[str, Any] = {}
MEANS = {
    "cpu": "CPUUtilization",
    "io_wait": "I/OWaitPercentage",
    "gpu": "GPUUtilization",
    "gpu_memory": "GPUMemoryUtilization",
}
SUMS = {
    "memory": ("", "MemoryUsedPercent"),
    "network": ("Algorithm", ""),
    "disk_read": ("", "ReadThroughputInBytesPerSecond"),
    "disk_write": ("", "WriteThroughputInBytesPerSecond"),
}


def judge(measured: Measured, parameters: dict[str, Any]) -> Verdict:
    if not measured.series:
        return absent("no system metrics were measured: profile=system measures them")
    details: dict[str, dict[str, Any]] = {}
    for resource, dimension in MEANS.items():
        for host, series in points.of(measured, dimension).items():
            details.setdefault(host, {})[resource] = spread(points.mean(series))
    for resource, (dimension, name) in SUMS.items():
        for host, series in points.of(measured, dimension, name).items():
            when = points.moments(series)
            total = points.at_moments(series, when, np.add)
            details.setdefault(host, {})[resource] = spread(total)
    if not details:
        return absent("neither processors, memory, GPUs, disks nor network were measured")
    host, first = next(iter(details.items()))
    told = ", ".join(
        f"{name} {first[name]['p95']:.0f} %" for name in ("cpu", "memory", "gpu", "gpu_memory")
        if name in first
    )  # fmt: skip
    looked = max(len(each.values) for each in measured.series)
    return fine(f"p95 on {host}: {told}", looked_at=looked, details=details)


def spread(values: NDArray[np.float64]) -> dict[str, float]:
    low, median, high, higher, most = np.percentile(values, [0, 50, 95, 99, 100]).tolist()
    return {"max": most, "p99": higher, "p95": high, "p50": median, "min": low}
