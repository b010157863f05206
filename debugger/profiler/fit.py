"""Whether the machine fits the job, from what was measured over its run; advice and no rule.

A machine that is too large is no fault of the job. What comes before the first step counts, for
with cached features the work is there. The wait for disks, which the platform counts as use of a
processor, is taken off.
"""

from dataclasses import replace

import numpy as np

from debugger.profiler import advice
from debugger.profiler.advice import Advice, Use
from debugger.profiler.measured import Measured
from debugger.profiler.rules import points
from debugger.profiler.rules.dataloader import wait_percent

FEWEST = 20
"""Moments of measurement; fewer say nothing about a job's need."""


def advise(measured: Measured, batch_size: int | None = None) -> list[Advice]:
    """What pays most first; of the host that uses most of itself, which is the one that a smaller
    machine would fail. Empty where the machine fits, or too little was measured."""
    found = {host: use for host, use in uses(measured).items() if len(use.cpu) > FEWEST}
    if not found:
        return []
    busiest = max(found.values(), key=lambda use: advice.percentile(use, 95))
    memory = max(use.memory_max for use in found.values())
    return advice.advise(replace(busiest, memory_max=memory, batch_size=batch_size))


def uses(measured: Measured) -> dict[str, Use]:
    """By host; those with processors and memory."""
    wait = wait_percent(measured)
    waits = points.of(measured, "I/OWaitPercentage")
    memories = points.of(measured, "", "MemoryUsedPercent")
    totals = points.of(measured, "", "MemoryTotalInBytes")
    loaders = points.of(measured, "", "LoaderProcesses")
    found = {}
    for host, cores in points.of(measured, "CPUUtilization").items():
        if host not in memories:
            continue
        when, busy = points.moments(cores), points.mean(cores)
        if host in waits:
            for_disks = points.at_moments(waits[host], when, np.add) / len(waits[host])
            busy = np.clip(busy - np.nan_to_num(for_disks), 0, 100)
        memory = memories[host][0]
        found[host] = Use(
            cores=float(len(cores)),
            cpu=busy,
            memory_max=float(memory.values.max()),
            memory_bytes=float(totals[host][0].values[-1]) if host in totals else None,
            gpus=_gpus(measured, host),
            data_wait=None if wait is None else wait / 100,
            loaders=int(np.median(loaders[host][0].values)) if host in loaders else None,
        )
    return found


def _gpus(measured: Measured, host: str) -> dict[str, tuple[float, float]]:
    memory = {each.name: float(each.values.max())
              for each in points.of(measured, "GPUMemoryUtilization").get(host, [])}  # fmt: skip
    return {each.name: (float(each.values.mean()), memory.get(each.name, 0.0))
            for each in points.of(measured, "GPUUtilization").get(host, [])}  # fmt: skip
