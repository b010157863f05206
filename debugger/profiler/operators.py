"""What a trace says: operators, kernels and Python functions by the time spent in each alone.

A trace of a large network is a hundred megabytes of JSON. It is decoded an event at a time, and of
each event only its times and its name are kept.
"""

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from debugger.profiler.measured import Operator

KINDS = {
    "cpu_op": "operator",
    "python_function": "python",
    "kernel": "kernel",
    "gpu_memcpy": "kernel",
    "gpu_memset": "kernel",
}
"""Categories of the trace, and what an Operator calls them."""
WAITS = re.compile(r"cuda(Device|Stream|Event)Synchronize|cudaMemcpy$")
"""Calls in which the program waits for the device."""
EVENTS = '"traceEvents"'
MOST_CHARACTERS = 1 << 30
MOST_OPERATORS = 30
"""Of each kind, the longest."""


class Event(NamedTuple):
    start: float
    """Microseconds."""
    length: float
    kind: str
    name: str


@dataclass
class Found:
    operators: list[Operator] = field(default_factory=list)
    waited_seconds: float = 0.0
    """In calls that wait for the device."""
    device_seconds: float = 0.0
    """In which at least one kernel or copy ran."""


def read(path: Path, seconds: float) -> Found:
    """From a Chrome trace that took so long, `.gz` or plain. Raises OSError or ValueError."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", errors="replace") as file:
        text = file.read(MOST_CHARACTERS)
    threads: dict[Any, list[Event]] = defaultdict(list)
    device: list[Event] = []
    waited = 0.0
    for event in events(text):
        category = event.get("cat")
        kind = KINDS.get(category) if isinstance(category, str) else None
        name = str(event.get("name", ""))
        if kind is None:
            if category == "cuda_runtime" and WAITS.search(name):
                waited += float(event.get("dur") or 0)
            continue
        one = Event(float(event.get("ts") or 0), float(event.get("dur") or 0), kind, name)
        if kind == "kernel":
            device.append(one)
        else:
            threads[event.get("pid"), event.get("tid")].append(one)
    spent: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0.0])
    for one, alone in (each for thread in threads.values() for each in _alone(thread)):
        _add(spent, one, alone)
    for one in device:
        _add(spent, one, one.length)
    return Found(_longest(spent, seconds), waited / 1e6, _covered(device) / 1e6)


def events(text: str) -> Iterator[dict[str, Any]]:
    """The whole events of a Chrome trace, an object with `traceEvents` or a bare list; a text that
    was cut ends with the last whole one."""
    at = text.find(EVENTS)
    at = text.find("[", at + len(EVENTS) if at >= 0 else 0) + 1
    decode = json.JSONDecoder().raw_decode
    while at > 0:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if at >= len(text) or text[at] != "{":
            return
        try:
            event, at = decode(text, at)
        except (ValueError, RecursionError):
            return
        yield event


def _alone(thread: list[Event]) -> Iterator[tuple[Event, float]]:
    """Each event of a thread with the time in it that none of those inside it took."""
    open_: list[tuple[Event, float]] = []  # with what is left of each
    for one in sorted(thread, key=lambda each: (each.start, -each.length)):
        while open_ and one.start >= open_[-1][0].start + open_[-1][0].length:
            yield open_.pop()
        if open_:
            outer, left = open_[-1]
            open_[-1] = (outer, left - one.length)
        open_.append((one, one.length))
    yield from reversed(open_)


def _add(spent: dict[tuple[str, str], list[float]], one: Event, alone: float) -> None:
    entry = spent[one.kind, one.name]
    entry[0] += 1
    entry[1] += max(alone, 0.0)


def _longest(spent: dict[tuple[str, str], list[float]], seconds: float) -> list[Operator]:
    made = [
        Operator(name[:200], kind, int(calls), micro / 1e6, micro / 1e6 / max(seconds, 1e-9))
        for (kind, name), (calls, micro) in spent.items()
    ]
    made.sort(key=lambda each: -each.seconds)
    kept = []
    for kind in ("operator", "kernel", "python"):
        kept += [each for each in made if each.kind == kind][:MOST_OPERATORS]
    return kept


def _covered(intervals: Iterable[Event]) -> float:
    """The length of their union."""
    covered, end = 0.0, float("-inf")
    for one in sorted(intervals):
        stop = one.start + one.length
        covered += max(0.0, stop - max(one.start, end))
        end = max(end, stop)
    return covered
