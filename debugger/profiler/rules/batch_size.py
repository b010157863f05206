"""BatchSize: neither processors nor a GPU nor its memory are used: more photos an update fit.

p95 over the last `window` points: of the mean over the cores below cpu_threshold_p95, and of some
GPU its utilisation below gpu_threshold_p95 and its memory below gpu_memory_threshold_p95. Judged
from more than `window` and more than `patience` points on. patience is 100 in the guide and 1,000
in the SDK; ours is the guide's.
"""

from typing import Any

import numpy as np

from debugger.profiler.measured import Measured
from debugger.profiler.rules import points
from debugger.profiler.rules.outcome import NO_GPU, absent, fine, issue, too_few
from debugger.verdict import Verdict

DEFAULTS = {
    "cpu_threshold_p95": 70.0,
    "gpu_threshold_p95": 70.0,
    "gpu_memory_threshold_p95": 70.0,
    "patience": 100.0,
    "window": 500.0,
}


def judge(measured: Measured, parameters: dict[str, Any]) -> Verdict:
    window = int(parameters["window"])
    needed = max(parameters["window"], parameters["patience"])
    uses = points.of(measured, "GPUUtilization")
    memories = points.of(measured, "GPUMemoryUtilization")
    if not uses or not memories:
        return absent(NO_GPU)
    seen: list[tuple[str, str, float, float, float]] = []
    loose: list[tuple[str, str, float, float, float]] = []
    most = 0
    for host, cores in points.of(measured, "CPUUtilization").items():
        cpu = points.mean(cores)
        most = max(most, len(cpu))
        if len(cpu) <= needed:
            continue
        own = {each.name: each for each in memories.get(host, [])}
        for gpu in uses.get(host, []):
            if gpu.name not in own or min(len(gpu.values), len(own[gpu.name].values)) <= needed:
                continue
            busy, use, memory = (
                float(np.percentile(values[-window:], 95))
                for values in (cpu, gpu.values, own[gpu.name].values)
            )
            seen.append((host, gpu.name, busy, use, memory))
            if (
                busy < parameters["cpu_threshold_p95"]
                and use < parameters["gpu_threshold_p95"]
                and memory < parameters["gpu_memory_threshold_p95"]
            ):
                loose.append(seen[-1])
    if not seen:
        return too_few(most, needed)
    details = {"p95": [dict(zip(("host", "gpu", "cpu", "use", "memory"), each, strict=True))
                       for each in seen]}  # fmt: skip
    host, name, cpu_p95, use, memory = (loose or seen)[0]
    found = (
        f"p95 of {name} of {host}: {use:.0f} % used, {memory:.0f} % of its memory; "
        f"of the processors {cpu_p95:.0f} %"
    )
    if not loose:
        return fine(found, looked_at=most, details=details)
    times = 1
    while memory * times * 2 <= 85 and times < 16:
        times *= 2
    return issue(
        found,
        f"batch_size times {times}, with learning_rate times {times**0.5:.1f} to {times}"
        if times > 1
        else "a smaller GPU, or several trials on this one (a search with more than one slot)",
        gain=f"memory grows at most as the batch: {memory:.0f} % x {times} = "
        f"{memory * times:.0f} %" if times > 1 else "",
        times=len(loose), looked_at=most, details=details,
    )  # fmt: skip
