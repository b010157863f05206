"""What this container may use: processors, memory, shared memory, GPUs.

A container sees the whole machine in `os.cpu_count()`; its share stands in the control groups, of
which there are two versions. `root` is another file system to read them from, for recorded files.
"""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

UNLIMITED = 1 << 60
"""cgroup v1 says "no limit" with a huge number of bytes."""

PROCESSES_HERE = "LOCAL_WORLD_SIZE"
"""Environment variable: how many processes of the job share this container, one per GPU."""


@dataclass(frozen=True)
class Memory:
    """Bytes; `None` where the kernel does not tell."""

    limit: int | None
    peak: int | None
    kills: int
    """Processes of this container that the kernel has killed for memory."""


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _group_file(root: Path, controller: str, name: str) -> str | None:
    """A file of this process's control group: `controller` is v1's folder, '' for v2."""
    mount = root / "sys/fs/cgroup" / controller
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            # inside a container the mount usually shows the group itself, not its path
            text = _read(mount / path.lstrip("/") / name)
            if text is not None:
                return text
    return _read(mount / name)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdigit() else None


def _field(text: str | None, name: str) -> int:
    found = re.search(rf"^{name} (\d+)$", text or "", re.MULTILINE)
    return int(found[1]) if found else 0


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Processors that the control group allows, or None where it sets no limit."""
    version_2 = (_group_file(root, "", "cpu.max") or "").split()
    if len(version_2) == 2:
        quota, period = version_2
    else:
        quota = (_group_file(root, "cpu", "cpu.cfs_quota_us") or "-1").strip()
        period = (_group_file(root, "cpu", "cpu.cfs_period_us") or "100000").strip()
    return int(quota) / int(period) if quota.isdigit() and int(period) else None


def cpu_count(root: Path = Path("/")) -> int:
    """Processors to plan threads for: the affinity mask, cut to the quota, at least 1."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        allowed = os.cpu_count() or 1
    quota = cpu_quota(root)
    count = max(1, min(allowed, int(quota + 0.5) or 1) if quota else allowed)
    return max(1, count // processes_here())


def processes_here() -> int:
    """Processes that share the processors that this one plans for."""
    return int(os.environ.get(PROCESSES_HERE) or 1)


def memory(root: Path = Path("/")) -> Memory:
    events = _group_file(root, "", "memory.events")
    if events is not None:
        return Memory(
            _number(_group_file(root, "", "memory.max")),
            _number(_group_file(root, "", "memory.peak")),
            _field(events, "oom_kill"),
        )
    limit = _number(_group_file(root, "memory", "memory.limit_in_bytes"))
    return Memory(
        limit if limit is not None and limit < UNLIMITED else None,
        _number(_group_file(root, "memory", "memory.max_usage_in_bytes")),
        _field(_group_file(root, "memory", "memory.oom_control"), "oom_kill"),
    )


def cpu_seconds(root: Path = Path("/")) -> float | None:
    """Seconds of processor that this control group has used, or None where nobody counts."""
    used = _field(_group_file(root, "", "cpu.stat"), "usage_usec")
    if used:
        return used / 1e6
    counted = _number(_group_file(root, "cpuacct", "cpuacct.usage"))
    return None if counted is None else counted / 1e9


def memory_used(root: Path = Path("/")) -> int | None:
    """Bytes in use by this control group, without files that the kernel may drop at once."""
    current = _number(_group_file(root, "", "memory.current"))
    if current is not None:
        return current - _field(_group_file(root, "", "memory.stat"), "inactive_file")
    current = _number(_group_file(root, "memory", "memory.usage_in_bytes"))
    if current is None:
        return None
    return current - _field(_group_file(root, "memory", "memory.stat"), "total_inactive_file")


def shared_memory_bytes(path: Path = Path("/dev/shm")) -> int | None:
    """Free bytes of the shared memory mount, or None where there is none."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def gpu_count(root: Path = Path("/")) -> int:
    """GPUs that this container sees, without asking a driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = len(list((root / "dev").glob("nvidia[0-9]*")))
    if visible is None:
        return found
    return min(found, len([name for name in visible.split(",") if name.strip() not in ("", "-1")]))
