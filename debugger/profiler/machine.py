"""What a host's processors, memory, disks and network do, in the platform's words.

Names, types and units are those of the lines that the platform's own sampler writes (seen in
published jobs): CPUUtilization and I/OWaitPercentage of `cpu0`, `cpu1`, ...; MemoryUsedPercent;
IOPS, ReadThroughputInBytesPerSecond, WriteThroughputInBytesPerSecond; ReceiveBytesPerSecond and
TransmitBytesPerSecond of the algorithm. CPUUtilization is all but idle time, waiting for disks
included: in the platform's lines the two add up to more than 100.

A container with a quota has no processors of its own. It is described as so many as the quota is
worth, all equally busy, at its use by its quota: 100 is where the kernel begins to throttle.
"""

import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from container import resources


class Reading(NamedTuple):
    type: str
    name: str
    dimension: str
    value: float


class Machine:
    """Reads differences: the first `read` covers the time since the object was made."""

    def __init__(self, root: Path = Path("/")) -> None:
        import psutil  # here: only the sampler needs it, and its thread can wait

        self._psutil, self._root = psutil, root
        try:
            self.allowed = sorted(os.sched_getaffinity(0))
        except AttributeError:  # not on macOS
            self.allowed = list(range(os.cpu_count() or 1))
        quota = resources.cpu_quota(root)
        self.quota = quota if quota is not None and quota < len(self.allowed) else None
        physical = int(psutil.virtual_memory().total)
        limit = resources.memory(root).limit
        self.limited = limit is not None and limit < physical
        self.memory_bytes = limit if limit is not None and self.limited else physical
        self._before = self._now()

    @property
    def cores(self) -> float:
        return self.quota or len(self.allowed)

    def read(self) -> list[Reading]:
        before, now = self._before, self._now()
        self._before = now
        seconds = max(now["at"] - before["at"], 1e-6)
        readings = [Reading("memory", "MemoryUsedPercent", "", self._memory())]
        readings += self._cpus(before, now, seconds)
        readings += _rates(before["disk"], now["disk"], seconds, "i/o", "")
        readings += _rates(before["network"], now["network"], seconds, "network", "Algorithm")
        return readings

    def _now(self) -> dict[str, Any]:
        disk = self._psutil.disk_io_counters(nowrap=False)
        network = self._psutil.net_io_counters(pernic=True, nowrap=False)
        own = [counted for name, counted in network.items() if name != "lo"]
        return {
            "at": time.monotonic(),
            "cpus": self._psutil.cpu_times(percpu=True),
            "group": resources.cpu_seconds(self._root) if self.quota else None,
            "disk": {} if disk is None else {
                "IOPS": disk.read_count + disk.write_count,
                "ReadThroughputInBytesPerSecond": disk.read_bytes,
                "WriteThroughputInBytesPerSecond": disk.write_bytes,
            },
            "network": {
                "ReceiveBytesPerSecond": sum(each.bytes_recv for each in own),
                "TransmitBytesPerSecond": sum(each.bytes_sent for each in own),
            },
        }  # fmt: skip

    def _cpus(
        self, before: dict[str, Any], now: dict[str, Any], seconds: float
    ) -> Iterator[Reading]:
        busy, waiting = [], []
        for at in self.allowed:
            if at >= min(len(before["cpus"]), len(now["cpus"])):
                continue  # taken away from the machine meanwhile
            old, new = before["cpus"][at], now["cpus"][at]
            whole = sum(new[:8]) - sum(old[:8])  # the rest, of guests, is in these already
            idle = new.idle - old.idle
            iowait = getattr(new, "iowait", 0.0) - getattr(old, "iowait", 0.0)
            busy.append(_percent(whole - idle, whole))
            waiting.append(_percent(iowait, whole))
        if self.quota and busy:
            used = _used(before["group"], now["group"])
            share = _percent(used, seconds * self.quota) if used is not None else max(busy)
            count = math.ceil(self.quota)
            busy, waiting = [share] * count, [sum(waiting) / len(waiting)] * count
        for number, (use, wait) in enumerate(zip(busy, waiting, strict=True)):
            yield Reading("cpu", f"cpu{number}", "CPUUtilization", use)
            yield Reading("cpu", f"cpu{number}", "I/OWaitPercentage", wait)

    def _memory(self) -> float:
        if self.limited:
            used = resources.memory_used(self._root)
            if used is not None:
                return _percent(used, self.memory_bytes)
        return float(self._psutil.virtual_memory().percent)


def _used(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else now - before


def _percent(part: float, whole: float) -> float:
    return round(min(max(100 * part / whole, 0.0), 100.0), 2) if whole > 0 else 0.0


def _rates(
    before: dict[str, int], now: dict[str, int], seconds: float, kind: str, dimension: str
) -> Iterator[Reading]:
    for name, count in now.items():
        if name in before:
            yield Reading(kind, name, dimension, round(max(count - before[name], 0) / seconds, 2))
