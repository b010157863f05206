"""Dataloader: too few or too many processes load photos.

The median of the loading processes, in per cent of the cores, below min_threshold or above
max_threshold; judged from more than `patience` points on. Only the SDK has this rule; the patience
of 10 is the old open-source rule's. That rule counted processes in events of a loader that only the
platform's own builds of torch wrote; the sampler writes their number as `LoaderProcesses`.

Fewer processes than cores are no fault where nobody waits for them, and a network that computes on
the processors wants its share. So where the wait for data is known and its share of the step times
is below min_wait, in per cent, too few of them is not an issue; 0 switches this off, which is the
SDK's reading.
"""

from typing import Any

import numpy as np

from debugger.profiler.measured import Measured
from debugger.profiler.rules import points
from debugger.profiler.rules.outcome import absent, fine, issue, too_few
from debugger.verdict import Verdict

DEFAULTS = {"min_threshold": 70.0, "max_threshold": 200.0, "patience": 10.0, "min_wait": 5.0}


def judge(measured: Measured, parameters: dict[str, Any]) -> Verdict:
    found = points.of(measured, "", "LoaderProcesses")
    cores = points.of(measured, "CPUUtilization")
    rows, most = [], 0
    for host, (loaders, *_) in found.items():
        most = max(most, len(loaders.values))
        if host in cores and len(loaders.values) > parameters["patience"]:
            processes = float(np.median(loaders.values))
            count = len(cores[host])
            rows.append({"host": host, "processes": processes, "cores": count,
                         "percent": 100 * processes / count})  # fmt: skip
    if not found:
        return absent(
            "no loading process was counted: photos were not decoded while training, as with "
            "cached features, or another program wrote the measurements"
        )
    if not rows:
        return too_few(most, parameters["patience"])
    wait = wait_percent(measured)
    details = {"hosts": rows, "wait_percent": wait}
    fewest, greatest = min(rows, key=_percent), max(rows, key=_percent)
    waited = "" if wait is None else f"; the wait for data is {wait:.1f} % of the steps"
    if greatest["percent"] > parameters["max_threshold"]:
        return issue(
            _words(greatest) + waited,
            f"num_workers={greatest['cores']}",
            gain="memory: each process holds the batches it has made ahead",
            times=1, looked_at=most, details=details,
        )  # fmt: skip
    text = _words(fewest) + waited
    if fewest["percent"] < parameters["min_threshold"] and (
        wait is None or wait >= parameters["min_wait"]
    ):
        return issue(
            text,
            f"num_workers={fewest['cores']}",
            gain="" if wait is None else f"at most {wait:.0f} % of the time",
            times=1, looked_at=most, details=details,
        )  # fmt: skip
    return fine(text, looked_at=most, details=details)


def _percent(row: dict[str, Any]) -> float:
    return float(row["percent"])


def _words(row: dict[str, Any]) -> str:
    return (
        f"{row['processes']:g} loading processes for {row['cores']} cores of {row['host']}, "
        f"{row['percent']:.0f} %"
    )


def wait_percent(measured: Measured) -> float | None:
    """The share of the step times that passed waiting for data, over all processes."""
    timed = [each for each in measured.steps if "data_wait" in each.stages]
    whole = sum(float(each.seconds.sum()) for each in timed)
    if not whole:
        return None
    return 100 * sum(float(each.stages["data_wait"].sum()) for each in timed) / whole
