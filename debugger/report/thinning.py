"""Less of what is too much for a page, so that what matters is still seen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True)
class Line:
    """A series in at most so many parts: their mean, lowest and highest values."""

    x: Floats
    """Middle of each part."""
    mean: Floats
    low: Floats
    high: Floats
    whole: bool
    """Every point is a part of its own: nothing was left out."""


def line(x: NDArray[Any], values: NDArray[Any], most: int) -> Line:
    """Parts of the same number of points, so that peaks stay as `high` and gaps stay gaps. A part
    without a finite value is NaN."""
    at: Floats = np.asarray(x, np.float64)
    numbers: Floats = np.asarray(values, np.float64)
    if len(at) <= most:
        return Line(at, numbers, numbers, numbers, True)
    starts = np.linspace(0, len(at), most + 1).astype(np.int64)[:-1]
    counts = np.diff(np.append(starts, len(at)))
    finite = np.isfinite(numbers)
    seen = np.add.reduceat(finite.astype(np.int64), starts)
    empty = seen == 0
    sums = np.add.reduceat(np.where(finite, numbers, 0), starts)
    low = np.minimum.reduceat(np.where(finite, numbers, np.inf), starts)
    high = np.maximum.reduceat(np.where(finite, numbers, -np.inf), starts)
    mean = sums / np.maximum(seen, 1)
    for made in (mean, low, high):
        made[empty] = np.nan
    return Line(np.add.reduceat(at, starts) / counts, mean, low, high, False)


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many, evenly over all, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    if most == 1:
        return [items[0]]
    places = np.linspace(0, len(items) - 1, most).round().astype(int)
    return [items[place] for place in places]


def coarse_to_fine(count: int) -> Iterator[int]:
    """0 to `count` - 1 in an order that covers the whole range wherever it is cut off: the two
    ends, then always the middles between what came before."""
    if count:
        yield 0
    if count > 1:
        yield count - 1
    gaps = [(0, count - 1)]
    while gaps:
        halves = []
        for low, high in gaps:
            middle = (low + high) // 2
            if low < middle < high:
                yield middle
                halves += [(low, middle), (middle, high)]
        gaps = halves
