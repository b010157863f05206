"""`profile.json` and the log's last block: where the time of a run went, in one process's words.

`docs/diagnose.md` describes the file.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from debugger.profiler import advice
from debugger.profiler.advice import Advice, Use
from debugger.profiler.measured import STAGES, Operator
from debugger.profiler.spread import Spread
from debugger.profiler.stages import OTHER
from debugger.profiler.timeline import Step

FORMAT = 1
NAME = "profile.json"
FOLDED = 512
LEAST_SAMPLES = 20
"""Of the machine, before anything is advised about it."""


class Times:
    """Of all steps of a process, in bounded memory; folded in many at a time, for small steps come
    by the thousand a second."""

    def __init__(self) -> None:
        self._waiting: list[Step] = []
        self._seconds = Spread()
        self._stages = {name: Spread() for name in (*STAGES, OTHER)}
        self.images = 0

    def add(self, step: Step) -> None:
        self._waiting.append(step)
        self.images += step.images
        if len(self._waiting) >= FOLDED:
            self._fold()

    def _fold(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        whole = np.array([step.seconds for step in waiting], np.float64)
        parts = np.array([step.stages for step in waiting], np.float64)
        self._seconds.add_all(whole)
        for name, values in zip(STAGES, parts.T, strict=True):
            self._stages[name].add_all(values)
        self._stages[OTHER].add_all(np.maximum(0.0, whole - parts.sum(axis=1)))

    @property
    def seconds(self) -> Spread:
        self._fold()
        return self._seconds

    @property
    def stages(self) -> dict[str, Spread]:
        self._fold()
        return self._stages

    def share(self, *names: str) -> float:
        whole = self.seconds.total
        return sum(self.stages[name].total for name in names) / whole if whole else 0.0


@dataclass(frozen=True)
class Traced:
    """What a trace adds; `sync` and `idle` are shares of its time, 0 to 1."""

    file: str
    first: int
    steps: int
    seconds: float
    sync: float | None
    idle: float | None
    operators: list[Operator]


def use_of(
    spreads: dict[str, Spread],
    facts: dict[str, Any],
    times: Times,
    loaders: int | None,
    batch_size: int | None,
) -> Use | None:
    """Of the host that was sampled; None where it was not."""
    if "cpu" not in spreads or "cores" not in facts:
        return None
    values, weights = spreads["cpu"].values()
    if spreads["cpu"].count <= LEAST_SAMPLES:
        values, weights = [], []  # a start says nothing about the rest
    gpus = [name for name in spreads if name.startswith("gpu") and not name.endswith("_memory")]
    return Use(
        cores=float(facts["cores"]),
        cpu=np.array(values, np.float64),
        weights=np.array(weights, np.float64),
        memory_max=spreads["memory"].most,
        memory_bytes=float(facts["memory_bytes"]),
        gpus={name: (spreads[name].mean, spreads[f"{name}_memory"].most)
              for name in gpus if f"{name}_memory" in spreads},
        data_wait=times.share("data_wait") if times.seconds.count else None,
        loaders=loaders,
        batch_size=batch_size,
    )  # fmt: skip


def shares(
    times: Times, device: str, world: int, spreads: dict[str, Spread], traced: Traced | None
) -> dict[str, float | None]:
    """data, forward and backward of the steps' time; sync, the part of it in which the program
    waited for the device; idle, the part of the device that had nothing to do. The last two
    overlap with the first three; None where nobody measured them."""
    sync = traced.sync if traced else None
    idle = traced.idle if traced else None
    if device == "cpu" and world == 1:
        sync = 0.0  # there is nothing to wait for
    if idle is None:
        gpus = [name for name in spreads if name.startswith("gpu") and not name.endswith("_memory")]
        busy = gpus if device == "cuda" else ["cpu"]
        means = [spreads[name].mean for name in busy if name in spreads]
        idle = 1 - sum(means) / len(means) / 100 if means else None
    timed = times.seconds.count > 0
    return {
        "data": times.share("data_wait", "host_to_device") if timed else None,
        "forward": times.share("forward") if timed else None,
        "backward": times.share("backward") if timed else None,
        "sync": sync,
        "idle": idle,
    }


def verdict(found: dict[str, float | None], device: str, said: Sequence[Advice]) -> list[str]:
    """Five lines, in the order of `shares`."""
    by_subject = {each.subject: each.change for each in said}
    waits = (found["data"] or 0) > advice.WAITS
    idle = found["idle"] or 0
    what = "GPU" if device == "cuda" else "processors"
    remarks = {
        "data": by_subject.get("workers", "photos come late") if waits else "photos are there in "
        "time",
        "forward": "the network",
        "backward": "its gradients",
        "sync": "waits for the device" if found["sync"] is not None else
        "profile=steps:A-B measures it",
        "idle": f"of the {what}" + (
            "" if idle < 0.3 else f"; {by_subject['batch']}" if "batch" in by_subject
            else f"; {by_subject['smaller']}" if "smaller" in by_subject else ""
        ),
    }  # fmt: skip
    return [
        f"{name:<9}{'     ?' if share is None else f'{100 * share:5.1f}%'}  {remarks[name]}"
        for name, share in found.items()
    ]


def make(
    times: Times,
    use: Use | None,
    found: dict[str, float | None],
    device: str,
    spreads: dict[str, Spread],
    sampling: dict[str, Any],
    traced: Traced | None,
) -> dict[str, Any]:
    """The object of `profile.json`."""
    said = [] if use is None else advice.advise(use)
    return {
        "format": FORMAT,
        "steps": {"images": times.images, **_spread(times.seconds)},
        "stages": {
            name: {"share": times.share(name), **_spread(spread)}
            for name, spread in times.stages.items()
        },
        "system": {name: _spread(spread) for name, spread in spreads.items()},
        "sampling": sampling,
        "shares": found,
        "verdict": verdict(found, device, said),
        "advice": [asdict(each) for each in said],
        "trace": None if traced is None else {
            name: value for name, value in asdict(traced).items() if name != "operators"
        },
        "operators": [] if traced is None else [asdict(each) for each in traced.operators],
    }  # fmt: skip


def _spread(spread: Spread) -> dict[str, float]:
    return {
        "count": spread.count, "sum": spread.total, "mean": spread.mean,
        **{f"p{percent}": spread.percentile(percent) for percent in (50, 90, 95, 99)},
        "max": spread.most,
    }  # fmt: skip


def lines(summary: dict[str, Any]) -> list[str]:
    """The log's block: percentiles per stage, then the verdict, then what would pay."""
    steps = summary["steps"]
    told = []
    if steps["count"]:
        told.append(f"profile: {steps['count']} steps, milliseconds by stage")
        told.append(
            f"  {'':<15}{'share':>7}{'mean':>10}{'p50':>10}{'p90':>10}{'p99':>10}{'max':>10}"
        )
        for name, each in [("step", {"share": 1.0, **steps}), *summary["stages"].items()]:
            if each["sum"]:
                figures = "".join(f"{1000 * each[key]:>10.2f}"
                                  for key in ("mean", "p50", "p90", "p99", "max"))  # fmt: skip
                told.append(f"  {name:<15}{100 * each['share']:>6.1f}%{figures}")
    told.append("profile: where the time went")
    told += [f"  {line}" for line in summary["verdict"]]
    for each in summary["advice"]:
        gain = f"; {each['gain']}" if each["gain"] else ""
        told.append(f"profile: {each['change']}: {each['why']}{gain}")
    return told
