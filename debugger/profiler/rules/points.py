"""Series put together: several parts of a host at one moment.

A host's parts are not read at the same microsecond. As the platform's old rules do, points within
20 ms of the first of them count as one moment.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from debugger.profiler.measured import Measured, Series

SNAPSHOT_SECONDS = 0.02

Floats = NDArray[np.float64]


def of(measured: Measured, dimension: str, name: str = "") -> dict[str, list[Series]]:
    """By host, its series of a dimension and, where one is given, of a name."""
    found: dict[str, list[Series]] = {}
    for each in measured.series:
        if each.dimension == dimension and (not name or each.name == name):
            found.setdefault(each.host, []).append(each)
    return found


def moments(series: Iterable[Series]) -> Floats:
    """The first time of each moment."""
    times: Floats = np.unique(np.concatenate([each.times for each in series] or [np.empty(0)]))
    firsts: list[float] = []
    for time in times.tolist():
        if not firsts or time - firsts[-1] > SNAPSHOT_SECONDS:
            firsts.append(time)
    return np.array(firsts, np.float64)


def at_moments(series: Sequence[Series], when: Floats, how: Callable[..., Any]) -> Floats:
    """`how` (np.fmax, np.fmin, np.add) over the parts at each moment; nan where none was read."""
    values: Floats = np.full(len(when), np.nan)
    for each in series:
        at = np.searchsorted(when, each.times, side="right") - 1
        known = at >= 0
        one: Floats = np.full(len(when), np.nan)
        one[at[known]] = each.values[known]
        both = ~np.isnan(values) & ~np.isnan(one)
        values = np.where(both, how(values, one), np.where(np.isnan(values), one, values))
    return values


def mean(series: Sequence[Series]) -> Floats:
    """The mean over a host's parts, moment by moment."""
    when = moments(series)
    total = at_moments(series, when, np.add)
    counts = np.zeros(len(when))
    for each in series:
        counts += ~np.isnan(at_moments([each], when, np.add))
    return np.asarray(total / np.maximum(counts, 1), np.float64)
