"""CPUBottleneck: GPUs wait while processors are busy.

A moment is a bottleneck where any core is above cpu_threshold and any GPU below gpu_threshold; the
rule fires where their share of the moments is above `threshold` per cent, after `patience` moments.
patience is 100 in the guide and 1,000 in the SDK; ours is the guide's.
"""

from typing import Any

import numpy as np

from debugger.profiler.measured import Measured
from debugger.profiler.rules import points
from debugger.profiler.rules.outcome import NO_GPU, absent, fine, issue, too_few
from debugger.verdict import Verdict

DEFAULTS = {"threshold": 50.0, "gpu_threshold": 10.0, "cpu_threshold": 90.0, "patience": 100.0}


def judge(measured: Measured, parameters: dict[str, Any]) -> Verdict:
    looked, stuck = count(
        measured, "CPUUtilization", parameters["cpu_threshold"], parameters["gpu_threshold"]
    )
    if not points.of(measured, "GPUUtilization"):
        return absent(NO_GPU)
    if looked <= parameters["patience"]:
        return too_few(looked, parameters["patience"], "moments with processors and GPUs")
    share = 100 * stuck / looked
    found = (
        f"in {share:.1f} % of {looked} moments a core was above {parameters['cpu_threshold']:g} % "
        f"and a GPU below {parameters['gpu_threshold']:g} %"
    )
    details = {"bottlenecks": stuck, "share_percent": share}
    if not share > parameters["threshold"]:
        return fine(found, looked_at=looked, details=details)
    return issue(
        found,
        "feature_cache=true where fine_tune=head; else more num_workers up to the processors, "
        "smaller photos in the channel, or an instance with more processors per GPU",
        gain=f"at most {share:.0f} % of the time: so long a GPU stood still",
        times=stuck, looked_at=looked, details=details,
    )  # fmt: skip


def count(measured: Measured, dimension: str, above: float, gpu_below: float) -> tuple[int, int]:
    """Moments at which both were measured, and those of them that are bottlenecks."""
    looked = stuck = 0
    gpus = points.of(measured, "GPUUtilization")
    for host, series in points.of(measured, dimension).items():
        if host not in gpus:
            continue
        when = points.moments([*series, *gpus[host]])
        high = points.at_moments(series, when, np.fmax)
        low = points.at_moments(gpus[host], when, np.fmin)
        looked += int((~np.isnan(high) & ~np.isnan(low)).sum())
        stuck += int(((high > above) & (low < gpu_below)).sum())
    return looked, stuck
