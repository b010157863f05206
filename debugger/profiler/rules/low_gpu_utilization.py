"""LowGPUUtilization: a GPU is little used, or now fully and now not at all.

Per GPU, over its last `window` points: p95 below threshold_p95 (too little to do), or p95 above it
and p5 below threshold_p5 (it fluctuates). Judged from more than `patience` points on. Guide and SDK
agree on the defaults.
"""

from typing import Any

import numpy as np

from debugger.profiler.measured import Measured
from debugger.profiler.rules import points
from debugger.profiler.rules.outcome import NO_GPU, absent, fine, issue, too_few
from debugger.verdict import Verdict

DEFAULTS = {"threshold_p95": 70.0, "threshold_p5": 10.0, "window": 500.0, "patience": 1000.0}


def judge(measured: Measured, parameters: dict[str, Any]) -> Verdict:
    gpus = [each for found in points.of(measured, "GPUUtilization").values() for each in found]
    if not gpus:
        return absent(NO_GPU)
    most = max(len(each.values) for each in gpus)
    judged = [each for each in gpus if len(each.values) > parameters["patience"]]
    if not judged:
        return too_few(most, parameters["patience"])
    low, uneven, rows = [], [], []
    for gpu in judged:
        p5, p95 = np.percentile(gpu.values[-int(parameters["window"]) :], [5, 95]).tolist()
        rows.append({"host": gpu.host, "gpu": gpu.name, "p5": p5, "p95": p95})
        if p95 < parameters["threshold_p95"]:
            low.append(rows[-1])
        elif p95 > parameters["threshold_p95"] and p5 < parameters["threshold_p5"]:
            uneven.append(rows[-1])
    worst = (low or uneven or rows)[0]
    found = (
        f"{worst['gpu']} of {worst['host']}: p95 {worst['p95']:.0f} %, p5 {worst['p5']:.0f} % "
        "of its last points"
    )
    details = {"gpus": rows}
    if low:
        return issue(
            f"too little to do: {found}",
            "a larger batch_size; feature_cache=true where fine_tune=head; a smaller GPU, or a "
            "processor instance",
            gain=f"a GPU that is used {worst['p95']:.0f} % at most could do "
            f"{100 / max(worst['p95'], 1):.1f} times the work in the same hours",
            times=len(low), looked_at=most, details=details,
        )  # fmt: skip
    if uneven:
        return issue(
            f"now busy, now idle: {found}",
            "more num_workers, so that photos are there in time; checkpoint_minutes larger, if it "
            "is idle while the state is written",
            times=len(uneven), looked_at=most, details=details,
        )  # fmt: skip
    return fine(found, looked_at=most, details=details)
