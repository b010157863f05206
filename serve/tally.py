"""What has been counted of one model's requests: plain numbers that cost a request microseconds.

They are read by `exposition` for a scrape and by `record` for the minute's line; the library that
writes the text of /metrics is not needed for counting, so no start waits for its import.
"""

import random
import threading
import time
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from serve.trace import STAGES, Trace

SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Upper bounds of the buckets of times: from a photo's decoding to the platform's own limit."""
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Of the buckets of mini-batches."""
SAMPLE = 100
"""Values that one metric of an embedded record may have."""


@dataclass
class Histogram:
    """`counts` has one place more than `bounds`, for what is above the last of them."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self.counts)

    def __add__(self, other: "Histogram") -> "Histogram":
        pairs = zip(self.counts, other.counts, strict=True)
        return Histogram(self.bounds, [a + b for a, b in pairs], self.sum + other.sum)

    def __sub__(self, earlier: "Histogram") -> "Histogram":
        pairs = zip(self.counts, earlier.counts, strict=True)
        return Histogram(self.bounds, [a - b for a, b in pairs], self.sum - earlier.sum)


@dataclass
class Numbers:
    """All of them only ever rise."""

    answers: Counter[tuple[int, str]] = field(default_factory=Counter)
    """By HTTP status and class of refusal, which is empty for an answer."""
    images: int = 0
    total: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    stages: dict[str, Histogram] = field(
        default_factory=lambda: {stage: Histogram(SECONDS) for stage in STAGES}
    )
    batches: Histogram = field(default_factory=lambda: Histogram(IMAGES))

    @property
    def requests(self) -> int:
        return sum(self.answers.values())

    def __add__(self, other: "Numbers") -> "Numbers":
        return Numbers(
            self.answers + other.answers,
            self.images + other.images,
            self.total + other.total,
            {stage: self.stages[stage] + other.stages[stage] for stage in STAGES},
            self.batches + other.batches,
        )

    def __sub__(self, earlier: "Numbers") -> "Numbers":
        """What has come since. Counter's own minus leaves out what has not."""
        return Numbers(
            self.answers - earlier.answers,
            self.images - earlier.images,
            self.total - earlier.total,
            {stage: self.stages[stage] - earlier.stages[stage] for stage in STAGES},
            self.batches - earlier.batches,
        )


class Tally:
    """Counts from any thread."""

    def __init__(self) -> None:
        self._numbers = Numbers()
        self._sample: list[float] = []
        self._sampled = 0
        self._lock = threading.Lock()

    def request(self, status: int, trace: Trace) -> float:
        """One request that is about to be answered; returns the seconds it took."""
        seconds = time.monotonic() - trace.began
        numbers = self._numbers
        with self._lock:
            numbers.answers[status, trace.refusal] += 1
            numbers.images += trace.images
            numbers.total.observe(seconds)
            for stage, spent in trace.seconds.items():
                numbers.stages[stage].observe(spent)
            self._keep(seconds)
        return seconds

    def refused(self, status: int, refusal: str) -> None:
        """One request of which no time is known."""
        with self._lock:
            self._numbers.answers[status, refusal] += 1

    def _keep(self, seconds: float) -> None:
        """Every request of the minute has the same chance to be in its sample."""
        self._sampled += 1
        if len(self._sample) < SAMPLE:
            self._sample.append(seconds)
        elif (place := int(random.random() * self._sampled)) < SAMPLE:
            self._sample[place] = seconds

    def batch(self, images: int) -> None:
        """A mini-batch was taken by an engine."""
        with self._lock:
            self._numbers.batches.observe(images)

    def numbers(self) -> Numbers:
        with self._lock:
            return self._numbers + Numbers()

    def add(self, numbers: Numbers) -> None:
        """Takes over what was counted elsewhere."""
        with self._lock:
            self._numbers = self._numbers + numbers

    def take_sample(self) -> list[float]:
        """Seconds of up to 100 requests since the last call, drawn evenly from all of them."""
        with self._lock:
            sample, self._sample, self._sampled = self._sample, [], 0
        return sample
