"""How values spread, in bounded memory at any number of them."""

import math

import numpy as np
from numpy.typing import NDArray

LEAST, STEP = 1e-6, 1.02
"""The first bin's value, in whatever unit; each bin's is so many times the one before it."""
BINS = 1300
"""Up to about 150,000 times a second's worth: LEAST * STEP ** BINS."""
_PER_LOG = 1 / math.log(STEP)


class Spread:
    """Count, sum, extremes and percentiles of values from 0; percentiles are right within 1 %."""

    def __init__(self) -> None:
        self._bins = [0] * BINS
        self.count = 0
        self.total = 0.0
        self.most = 0.0
        self.least = math.inf

    def add(self, value: float) -> None:
        at = int(math.log(value / LEAST) * _PER_LOG) + 1 if value >= LEAST else 0
        self._bins[min(at, BINS - 1)] += 1
        self.count += 1
        self.total += value
        self.most = max(self.most, value)
        self.least = min(self.least, value)

    def add_all(self, values: NDArray[np.float64]) -> None:
        """As `add` of each, which takes a microsecond."""
        if not len(values):
            return
        known = np.maximum(values, LEAST)
        at = np.where(values >= LEAST, (np.log(known / LEAST) * _PER_LOG).astype(int) + 1, 0)
        for place, count in zip(*np.unique(at, return_counts=True), strict=True):
            self._bins[min(int(place), BINS - 1)] += int(count)
        self.count += len(values)
        self.total += float(values.sum())
        self.most = max(self.most, float(values.max()))
        self.least = min(self.least, float(values.min()))

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def values(self) -> tuple[list[float], list[int]]:
        """Those that occurred, each as the middle of its bin, and how often."""
        found = [(self._middle(at), count) for at, count in enumerate(self._bins) if count]
        return [value for value, _ in found], [count for _, count in found]

    def percentile(self, percent: float) -> float:
        """0 of nothing."""
        if not self.count:
            return 0.0
        wanted, seen = percent / 100 * self.count, 0
        for at, count in enumerate(self._bins):
            seen += count
            if count and seen >= wanted:
                return self._middle(at)
        return self.most

    def _middle(self, at: int) -> float:
        middle: float = LEAST * STEP ** (at - 0.5) if at else 0.0
        return min(max(middle, self.least), self.most)
