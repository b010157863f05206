"""When an engine that grows is replaced: while a new one still fits beside it.

A library that leaks, or a heap that falls to pieces, ends in a kill by the kernel with all that was
in flight. Of a growing engine as much is tolerated as there is room left beside the need of a new
one: it is then replaced without a failed request. Where two never fit, it is replaced between two
batches before the kernel would, which /ping tells. Sizes are bytes.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from container import resources

MIB = 1 << 20
LEAST_GROWTH = 32 * MIB
LEAST_GROWTH_SHARE = 0.1
"""Of its first size: allocators keep some of what the first large batches took."""
STILL = MIB
"""Growth from one look to the next that is none."""
FREE_SHARE = 0.05
"""Of the limit: kept free for requests that come meanwhile."""
LAST_SHARE = 0.92
"""Of the limit: beyond it the kernel's kill is near."""


class Verdict(Enum):
    STAY = "stay"
    REPLACE_BESIDE = "replace beside"
    REPLACE_AFTER = "replace after"
    """The old one must go before the new one starts: both do not fit."""


@dataclass(frozen=True)
class Room:
    """Of the whole container: its limit, and what all its processes use of it now."""

    limit: int | None
    used: int | None


@dataclass(frozen=True)
class Size:
    now: int
    """Of this process alone; pages of files that others could use too are not in it."""
    peak: int
    """The most that it ever had, pages of files included."""
    shared: int = 0
    """Pages of files: code of libraries, of which one copy serves all processes."""

    @property
    def own_peak(self) -> int:
        """The most that it ever had of its own; the kernel keeps the peak of both together only."""
        return max(self.now, self.peak - self.shared)


def room() -> Room:
    """Without a limit of the container's own, the machine's memory is the limit."""
    limit, used = resources.memory().limit, resources.memory_used()
    machine = _meminfo("MemTotal")
    if limit is None or (machine is not None and limit >= machine):
        free = _meminfo("MemAvailable")
        return Room(machine, None if machine is None or free is None else machine - free)
    return Room(limit, used)


def size(pid: int, proc: Path = Path("/proc")) -> Size | None:
    """None where the process has gone, or where there is no /proc."""
    try:
        text = (proc / str(pid) / "status").read_text()
    except OSError:
        return None
    own = _kib(text, "RssAnon") + _kib(text, "RssShmem")
    return Size(own, _kib(text, "VmHWM"), _kib(text, "RssFile"))


def may_double(own: Size, room: Room) -> bool:
    """Whether an engine may take as much again: where another one of that size fits beside it then,
    as it needs to be replaced without a failed request."""
    if room.limit is None or room.used is None:
        return True
    return room.used + 3 * own.own_peak <= room.limit * (1 - FREE_SHARE)


def _meminfo(name: str, proc: Path = Path("/proc")) -> int | None:
    try:
        return _kib((proc / "meminfo").read_text(), name) or None
    except OSError:
        return None


def _kib(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


class Guard:
    """Of one engine: `first` is its size when it was ready. `most` is the largest size that the
    operator allows, or 0."""

    def __init__(self, first: Size, most: int = 0, room: Callable[[], Room] = room) -> None:
        self.first, self._most, self._room = first, most, room
        self._last = first.now

    def settle(self, now: Size) -> None:
        """Of a young engine: what it has when it stands still is what its work needs. The first
        large batches take memory, too, and a new engine would only do the same."""
        if now.now - self._last < STILL:
            self.first = Size(max(now.now, self.first.now), max(now.peak, self.first.peak))
        self._last = now.now

    def verdict(self, now: Size) -> Verdict:
        growth = now.now - self.first.now
        if growth < max(LEAST_GROWTH, LEAST_GROWTH_SHARE * self.first.now):
            return Verdict.STAY  # a new one would be no smaller
        room = self._room()
        if room.limit is None or room.used is None:
            return Verdict.REPLACE_BESIDE if 0 < self._most < now.now else Verdict.STAY
        left = room.limit * (1 - FREE_SHARE) - room.used - self.first.peak
        if left >= 0:
            asked = 0 < self._most < now.now
            return Verdict.REPLACE_BESIDE if asked or growth > left else Verdict.STAY
        if room.used > LAST_SHARE * room.limit or 0 < self._most < now.now:
            return Verdict.REPLACE_AFTER
        return Verdict.STAY
