"""IOBottleneck: GPUs wait while processors wait for disks.

As CPUBottleneck, with I/O wait above io_threshold in place of the processors' use. gpu_threshold is
70 in the guide and 10 in the SDK and in the old open-source rule; ours is the guide's.
"""

from typing import Any

from debugger.profiler.measured import Measured
from debugger.profiler.rules import cpu_bottleneck, points
from debugger.profiler.rules.outcome import NO_GPU, absent, fine, issue, too_few
from debugger.verdict import Verdict

DEFAULTS = {"threshold": 50.0, "gpu_threshold": 70.0, "io_threshold": 50.0, "patience": 1000.0}


def judge(measured: Measured, parameters: dict[str, Any]) -> Verdict:
    looked, stuck = cpu_bottleneck.count(
        measured, "I/OWaitPercentage", parameters["io_threshold"], parameters["gpu_threshold"]
    )
    if not points.of(measured, "GPUUtilization"):
        return absent(NO_GPU)
    if not points.of(measured, "I/OWaitPercentage"):
        return absent("no I/O wait was measured: this system does not count it")
    if looked <= parameters["patience"]:
        return too_few(looked, parameters["patience"], "moments with I/O wait and GPUs")
    share = 100 * stuck / looked
    found = (
        f"in {share:.1f} % of {looked} moments a core waited more than "
        f"{parameters['io_threshold']:g} % for disks and a GPU was below "
        f"{parameters['gpu_threshold']:g} %"
    )
    details = {"bottlenecks": stuck, "share_percent": share}
    if not share > parameters["threshold"]:
        return fine(found, looked_at=looked, details=details)
    return issue(
        found,
        "feature_cache=true where fine_tune=head; else FastFile or tar shards in place of many "
        "small files, or a larger or faster volume",
        gain=f"at most {share:.0f} % of the time: so long a GPU stood still",
        times=stuck, looked_at=looked, details=details,
    )  # fmt: skip
