"""What the hook costs, measured while the job trains, and how it stays within its budget.

Counted is every second that the training thread spends in the hook, passes through the whole
network and waiting for the writing thread included, and what that thread takes of all processors
beside it, or will take for what it has not written yet. It is held against the job's seconds
outside the hook since the hook was made, so that computing features counts as work.

A first save of each mode always happens. A later one happens if its usual cost still fits; where it
does not, and never would at this interval, the interval is widened at once to the next power of two
times its length that fits, so that an expensive wish is not paid for many times over. Until a
minute has passed the job is taken to last one: a short one is worth looking into, too.
"""

import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from container import resources

FAIR_SECONDS = 60.0
"""The least time that the budget is a part of."""
WRITE_BYTES_PER_SECOND = 200e6
"""What waits to be written is expected to take: smdebug's writer, on a small cloud machine."""
REMEMBERED = 1000
"""Durations of steps, of each kind, that the second estimate is made of."""


@dataclass
class Mode:
    """The saved steps of one mode."""

    saved: int = 0
    seconds: float = 0.0
    """Of the training thread; `waited` of them for the writing thread."""
    waited: float = 0.0
    wrote: float = 0.0
    """Seconds of the writing thread."""
    queued: int = 0
    written: int = 0
    """Bytes, each counted by a thread of its own. Steps on kept features are over long before what
    they have queued is written."""
    widening: int = 1
    first_step: int = 0
    first_at: float = 0.0


@dataclass
class Budget:
    percent: float
    """Of the job's time without the hook; 0 for any."""
    now: Callable[[], float] = time.perf_counter
    fair: float = FAIR_SECONDS
    processors: int = field(default_factory=resources.cpu_count)
    inside: float = 0.0
    """Seconds of the training thread in the hook, without `start`."""
    start: float = 0.0
    """Seconds before the first step: smdebug's import, mostly. No interval makes them fewer."""
    skipped: int = 0
    """Saves that were due and left out, while those before were paid off."""
    modes: dict[str, Mode] = field(default_factory=dict)
    steps: dict[bool, deque[float]] = field(
        default_factory=lambda: {kind: deque(maxlen=REMEMBERED) for kind in (False, True)}
    )
    """Seconds of updates that saved something, and of those that did not."""

    def __post_init__(self) -> None:
        self.began = self.now()

    def of(self, mode: str) -> Mode:
        return self.modes.setdefault(mode, Mode())

    def spend(self, seconds: float, mode: str | None = None) -> None:
        """`mode`: of a step that is being saved."""
        self.inside += seconds
        if mode is not None:
            self.of(mode).seconds += seconds

    def started(self) -> None:
        """What was spent by now was the start."""
        self.start, self.inside = self.inside, 0.0

    @property
    def spent(self) -> float:
        """Seconds, of both threads."""
        return self.inside + sum(map(self._aside, self.modes.values()))

    def _aside(self, mode: Mode) -> float:
        """Of the writing thread while the training one went on: one processor of all."""
        seconds = mode.wrote + (mode.queued - mode.written) / WRITE_BYTES_PER_SECOND
        return max(0.0, seconds - mode.waited) / self.processors

    def _outside(self) -> float:
        return max(self.now() - self.began - self.start - self.inside, 1e-9)

    def saved(self, mode: str, step: int, nbytes: int = 0) -> None:
        """`nbytes` are still to be written."""
        kept = self.of(mode)
        kept.queued += nbytes
        if not kept.saved:
            kept.first_step, kept.first_at = step, self.now()
        kept.saved += 1

    def wrote(self, mode: str, nbytes: int, seconds: float) -> None:
        """Told by the writing thread, of a step that was saved."""
        kept = self.of(mode)
        kept.wrote += seconds
        kept.written += nbytes

    @property
    def used(self) -> float:
        """Per cent of the time that the job would have taken so far without the hook."""
        return 100 * self.spent / self._outside()

    def allows(self, mode: str, step: int, interval: int) -> tuple[bool, int]:
        """Whether a due step may be saved; and, where the interval was widened for it, the new
        widening, else 0."""
        kept = self.of(mode)
        if not self.percent or not kept.saved:
            return True, 0
        share = self.percent / 100
        cost = (kept.seconds + self._aside(kept)) / kept.saved
        needs, outside = (self.spent + cost) / share, self._outside()
        if needs <= max(outside, self.fair):
            return True, 0
        self.skipped += 1
        pace = (self.now() - kept.first_at) / max(1, step - kept.first_step)
        lasting = cost / share / max(pace, 1e-9)
        if lasting <= interval * kept.widening:
            return False, 0  # a debt, which time pays
        needed = max(lasting, (needs - outside) / max(pace, 1e-9))
        while interval * kept.widening < needed:
            kept.widening *= 2
        return False, kept.widening

    @property
    def estimate(self) -> float | None:
        """Per cent, by another way: what saved updates take longer than the others do."""
        plain, saving = self.steps[False], self.steps[True]
        if not plain or not saving:
            return None
        usual = statistics.median(plain)
        more = (statistics.median(saving) - usual) * self.of("TRAIN").saved
        return 100 * more / self._outside()
