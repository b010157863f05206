"""What to change about the machine, with the arithmetic: in cores and memory, of no vendor's names.

A machine's use at each moment is taken for the work that there was: half as many cores do it in the
same time while at most half of them are busy, and stretch it by the rest where more are. A family
of instances costs half as much at half the size; what a stretched job costs follows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

LOOSE_CPU_P95, LOOSE_MEMORY = 70.0, 45.0
"""Below both, in per cent, half the machine is advised: 70 is what the platform's rules call little
used, and 45 leaves half the memory a tenth of itself."""
FULL_CPU_MEAN, FULL_MEMORY = 90.0, 90.0
ROOM = 0.9
"""Of a resource, what a job may plan for."""
WAITS = 0.10
"""Share of the steps from which a wait for data is worth a change."""
GIB = 1 << 30


@dataclass(frozen=True)
class Use:
    """One host's, over a run; per cent unless said otherwise."""

    cores: float
    cpu: NDArray[np.float64]
    """Mean over the cores, without the wait for disks, at each moment; or values that occurred."""
    weights: NDArray[np.float64] | None = None
    """How often each value of `cpu` occurred; None: once."""
    memory_max: float = 0.0
    memory_bytes: float | None = None
    gpus: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Name -> mean utilisation and greatest memory."""
    data_wait: float | None = None
    """Share of the steps' time, 0 to 1."""
    loaders: int | None = None
    """Processes that decode photos."""
    batch_size: int | None = None


@dataclass(frozen=True)
class Advice:
    subject: str
    """`smaller`, `larger`, `workers` or `batch`."""
    change: str
    why: str
    """One sentence with the arithmetic."""
    gain: str = ""


def advise(use: Use) -> list[Advice]:
    """What pays most first; empty where the machine fits."""
    found = [_larger(use), _workers(use), _batch(use), smaller(use)]
    return [each for each in found if each is not None]


def percentile(use: Use, percent: float) -> float:
    order = np.argsort(use.cpu)
    weights = np.ones(len(use.cpu)) if use.weights is None else use.weights
    summed = np.cumsum(weights[order])
    at = int(np.searchsorted(summed, percent / 100 * summed[-1]))
    return float(use.cpu[order][min(at, len(order) - 1)])


def stretch(use: Use, part: float) -> float:
    """How much longer the run takes on this part of its cores, at most."""
    needed = np.maximum(1.0, use.cpu / 100 / part)
    return float(np.average(needed, weights=use.weights))


def smaller(
    use: Use, cpu_below: float = LOOSE_CPU_P95, memory_below: float = LOOSE_MEMORY
) -> Advice | None:
    """Half of the machine, where p95 of its cores and the most of its memory are below these."""
    if not len(use.cpu):
        return None
    p95, most = percentile(use, 95), float(use.cpu.max())
    if not (p95 < cpu_below and use.memory_max < memory_below):
        return None
    busy = p95 / 100 * use.cores
    why = (
        f"at most {most:.0f} % of {use.cores:g} cores were busy (p95 {p95:.0f} %, {busy:.1f} "
        f"cores) and at most {use.memory_max:.0f} % of the memory{_gib(use, use.memory_max / 100)} "
        f"was in use: {math.ceil(busy / ROOM * 10) / 10:g} cores and "
        f"{math.ceil(use.memory_max / ROOM)} % of the memory are enough at full speed"
    )
    if use.cores < 2:
        return Advice("smaller", "run a second job beside it", why)
    longer = stretch(use, 0.5)
    return Advice(
        "smaller",
        f"a smaller machine would do: half of this one, {use.cores / 2:g} cores and half the "
        f"memory{_gib(use, 0.5)}; or run two jobs at a time on this one",
        why,
        f"on half of it memory is at {2 * use.memory_max:.0f} % and the run takes at most "
        f"{longer:.2f} times as long, at half the price an hour: {longer / 2:.2f} of the cost",
    )


def _larger(use: Use) -> Advice | None:
    if use.memory_max > FULL_MEMORY:
        return Advice(
            "larger", f"a machine with half as much memory again{_gib(use, 1.5)}",
            f"{use.memory_max:.0f} % of the memory{_gib(use, use.memory_max / 100)} was in use: "
            f"above {FULL_MEMORY:g} % the next larger batch or worker ends the job",
        )  # fmt: skip
    if not len(use.cpu):
        return None
    mean = float(np.average(use.cpu, weights=use.weights))
    idle = [name for name, (busy, _) in use.gpus.items() if busy < 70]
    if mean > FULL_CPU_MEAN and (idle or not use.gpus):
        what = f"while {idle[0]} was {use.gpus[idle[0]][0]:.0f} % busy" if idle else "all the time"
        return Advice(
            "larger", f"a machine with twice the cores ({2 * use.cores:g}), or one with a GPU"
            if not use.gpus else f"an instance with more cores per GPU than {use.cores:g}",
            f"{mean:.0f} % of {use.cores:g} cores were busy {what}",
            "at most half the time, at the same cost where the price doubles with the cores",
        )  # fmt: skip
    return None


def _workers(use: Use) -> Advice | None:
    wait = use.data_wait
    if wait is None or not wait > WAITS or not use.loaders:
        return None
    wanted = math.ceil(use.loaders / max(1 - wait, 0.05))
    most = max(1, math.floor(use.cores))
    why = (
        f"{100 * wait:.0f} % of a step is the wait for photos from {use.loaders} processes: to "
        f"keep up takes {use.loaders} / (1 - {wait:.2f}) = {wanted}"
    )
    if use.loaders >= most:
        return Advice("workers", f"feature_cache=true where fine_tune=head, smaller photos, or "
                      f"more than {use.cores:g} cores", f"{why}, and there are {most} cores",
                      f"at most {100 * wait:.0f} % of the time")  # fmt: skip
    return Advice("workers", f"num_workers={min(wanted, most)}", why,
                  f"at most {100 * wait:.0f} % of the time")  # fmt: skip


def _batch(use: Use) -> Advice | None:
    if not use.gpus or not use.batch_size:
        return None
    busiest = max(use.gpus.values())
    memory = max(memory for _, memory in use.gpus.values())
    waits = use.data_wait is not None and use.data_wait > WAITS
    if busiest[0] >= 70 or memory <= 0 or memory * 2 > 85 or waits:
        return None
    times = 2 ** int(math.log2(85 / memory))
    times = min(times, 16)
    return Advice(
        "batch", f"batch_size={use.batch_size * times}",
        f"the GPU is {busiest[0]:.0f} % busy with {memory:.0f} % of its memory: {times} times the "
        f"batch takes at most {memory * times:.0f} %",
        "fewer, larger kernels; the learning rate belongs to the batch size",
    )  # fmt: skip


def _gib(use: Use, part: float) -> str:
    return "" if use.memory_bytes is None else f" ({use.memory_bytes * part / GIB:.1f} GiB)"
