"""Samples the host beside the training: a thread that wakes every half second.

A thread, and not a process: a sample takes well under a millisecond of one processor
(`benchmarks/profiler.py` measures it), most of it in the kernel, where it holds no lock of the
interpreter; a process would cost a second interpreter and its start. What a thread cannot do is
sample while other code holds the interpreter for long: such a gap shows in the times.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from debugger.profiler.gpus import Gpus
from debugger.profiler.lines import Lines
from debugger.profiler.machine import Machine, Reading
from debugger.profiler.settings import Settings, Watched
from debugger.profiler.spread import Spread

WIDENED_AT_BYTES = 64 << 20
"""At so much, and whenever the files have doubled since, samples are taken half as often, where
nobody gave the interval: seven hours of two processors, half an hour of a hundred."""


class Sampler:
    """One per host. `changed` is told new settings when the platform's file is another one."""

    def __init__(
        self,
        watched: Watched,
        host: str,
        number: int,
        say: Callable[[str], None],
        changed: Callable[[Settings], None],
    ) -> None:
        self._watched, self._say, self._changed = watched, say, changed
        self._lines = Lines(watched.now, host, number)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="profiler", daemon=True)
        self._machine: Machine | None = None
        self._gpus: Gpus | None = None
        self.loaders: int | None = None
        """Processes that decode photos, once that is known."""
        self.samples = 0
        self.cpu_seconds = 0.0
        self.began = time.time()
        self.widened = 1
        self.spreads: dict[str, Spread] = {}
        """Per cent: `cpu` without the wait for disks, `iowait`, `memory`, `gpu0`, `gpu0_memory`."""

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends after the sample under way."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def interval_seconds(self) -> float:
        return self._watched.now.interval_seconds * self.widened

    def facts(self) -> dict[str, Any]:
        """What a reader of the numbers must know of the machine; empty before the first sample."""
        if self._machine is None:
            return {}
        return {
            "cores": self._machine.cores,
            "memory_bytes": self._machine.memory_bytes,
            "gpus": 0 if self._gpus is None else len(self._gpus),
        }

    def _run(self) -> None:
        try:
            self._machine, self._gpus = Machine(), Gpus()
            due = time.monotonic() + self.interval_seconds
            while not self._ended.wait(max(0.0, due - time.monotonic())):
                due = max(due + self.interval_seconds, time.monotonic())
                self._sample()
            self._sample()
        except Exception as error:  # whatever a machine does not tell, training goes on without it
            self._say(f"profiler: no more samples: {type(error).__name__}: {error}")
        finally:
            self._lines.close()
            if self._gpus is not None:
                self._gpus.close()

    def _sample(self) -> None:
        begun = time.thread_time()
        assert self._machine is not None
        assert self._gpus is not None
        if self._watched.changed():
            self._lines.close()
            self._lines.settings = self._watched.now
            self._changed(self._watched.now)
        if self._watched.now.enabled:
            readings = [*self._machine.read(), *self._gpus.read()]
            if self.loaders is not None:
                readings.append(Reading("loader", "LoaderProcesses", "", float(self.loaders)))
            total = Reading("memory", "MemoryTotalInBytes", "", float(self._machine.memory_bytes))
            self._write(readings, total)
            self._count(readings)
        self.cpu_seconds += time.thread_time() - begun

    def _write(self, readings: list[Reading], total: Reading) -> None:
        was_broken = self._lines.broken
        self._lines.write(time.time(), readings, [total])
        if self._lines.broken and not was_broken:
            self._say(f"profiler: samples are not written: {self._lines.error}")
        if self._watched.now.widens and self._lines.written > WIDENED_AT_BYTES * self.widened:
            self.widened *= 2
            self._say(f"profiler: from here on every {self.interval_seconds:g} s")

    def _count(self, readings: list[Reading]) -> None:
        self.samples += 1
        cpus = [each.value for each in readings if each.dimension == "CPUUtilization"]
        waits = [each.value for each in readings if each.dimension == "I/OWaitPercentage"]
        iowait = sum(waits) / max(1, len(waits))
        values = {
            "cpu": max(0.0, sum(cpus) / max(1, len(cpus)) - iowait),
            "iowait": iowait,
            "memory": next(each.value for each in readings if each.name == "MemoryUsedPercent"),
        }
        for each in readings:
            if each.dimension == "GPUUtilization":
                values[each.name] = each.value
            elif each.dimension == "GPUMemoryUtilization":
                values[f"{each.name}_memory"] = each.value
        for name, value in values.items():
            self.spreads.setdefault(name, Spread()).add(value)
