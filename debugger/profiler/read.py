"""What a profiler measured, read from a folder: ours, the platform's own, or plain smdebug's.

Bounded: at most MOST_BYTES of each kind of file are read, whole files left out evenly, and a series
or a process has at most MOST_POINTS points. A line or an event that is cut or is none is left out;
whatever lies there, nothing is raised but an OSError of the folder itself.
"""

import gzip
import json
import math
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from debugger.profiler import operators
from debugger.profiler.measured import STAGES, Measured, Operator, Series, Steps
from debugger.profiler.timeline import STEP

PLACES = ("", "profiler", "profiler-output", "data/profiler", "output/profiler",
          "output/data/profiler")  # fmt: skip
"""Below the folder that is asked for, where measurements may lie: the profiler's own folder, a
job's output folder, or a job's whole tree."""
SUMMARIES = ("profile.json", "data/profile.json", "output/data/profile.json")
MOST_BYTES = 256 << 20
MOST_POINTS = 200_000
MOST_NUMBER = 2.0**53
"""Of a step; larger ones are none."""


def read(folder: Path) -> Measured:
    """`folder` is a job's output folder, its tree, or the profiler's own folder."""
    roots = [folder / place for place in PLACES]
    roots = [root for root in roots if (root / "system").is_dir() or (root / "framework").is_dir()]
    series = _series(_chosen(path for root in roots for path in (root / "system").rglob("*.json*")))
    events = _chosen(
        path
        for root in roots
        for path in (root / "framework").rglob("*timeline.json*")
        if "pevents" in path.parts or path.name.endswith(".tmp")
    )
    steps = _steps(events)
    firsts = [each.times[0] for each in series] + [each.starts[0] for each in steps]
    return Measured(series, steps, _operators(folder), float(min(firsts)) if firsts else None)


def _chosen(paths: Iterator[Path]) -> list[Path]:
    """In the order of their names' times; where they are too many, every second, fourth, ..."""
    files = sorted({path for path in paths if path.is_file()}, key=lambda path: path.name)
    every = math.ceil(sum(path.stat().st_size for path in files) / MOST_BYTES) or 1
    return files[::every]


def _text(path: Path) -> str:
    """Empty where it cannot be read."""
    if not path.is_file():  # reading a pipe or a device would never end
        return ""
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8", errors="replace") as file:
            return str(file.read(MOST_BYTES))
    except (OSError, EOFError, zlib.error):
        return ""


def _series(files: list[Path]) -> list[Series]:
    found: dict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
    for path in files:
        for line in _text(path).splitlines():
            try:
                event = json.loads(line)
                point = float(event["Timestamp"]), float(event["Value"])
                key = (event["NodeId"], event["Type"], event.get("Name"), event["Dimension"])
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue
            if all(map(math.isfinite, point)):
                found[tuple(str(part or "") for part in key)].append(point)
    made = []
    for (host, kind, name, dimension), points in sorted(found.items()):
        times, values = _thinned(np.array(sorted(points), np.float64)).T
        made.append(Series(host, kind, name, dimension, times, values))
    return made


def _thinned(rows: Any) -> Any:
    return rows[:: math.ceil(len(rows) / MOST_POINTS)]


def _steps(files: list[Path]) -> list[Steps]:
    rows: dict[tuple[str, int], list[tuple[float, ...]]] = defaultdict(list)
    staged: set[tuple[str, int]] = set()
    for path in files:
        rank, host = _node(path.name)
        origin = 0.0
        names: dict[Any, str] = {}
        for event in operators.events(_text(path)):
            told = event.get("args")
            arguments = told if isinstance(told, dict) else {}
            try:
                if event.get("ph") == "M":
                    origin = float(arguments.get("start_time_since_epoch_in_micros", origin))
                    names[event.get("pid")] = str(arguments.get("name", ""))
                elif event.get("name") == STEP and event.get("ph") == "X":
                    row = _row(event, arguments, origin)
                    rows[host, rank].append(row)
                    staged |= {(host, rank)} if "stages" in arguments else set()
            except (ValueError, TypeError, KeyError):
                continue
    made = []
    for (host, rank), each in sorted(rows.items()):
        table = _thinned(np.array(sorted(each), np.float64))
        stages = {}
        if (host, rank) in staged:
            stages = {name: table[:, 5 + at] for at, name in enumerate(STAGES)}
        made.append(Steps(
            host=host, rank=rank, numbers=table[:, 1].astype(np.int64),
            epochs=table[:, 3].astype(np.int64), starts=table[:, 0], seconds=table[:, 2],
            stages=stages, images=table[:, 4].astype(np.int64),
        ))  # fmt: skip
    return made


def _row(event: dict[str, Any], arguments: dict[str, Any], origin: float) -> tuple[float, ...]:
    """Start, number, seconds, epoch, images, then the stages' seconds."""
    stages = arguments.get("stages") or [0] * len(STAGES)
    row = (
        (origin + float(event["ts"])) / 1e6,
        float(arguments.get("step_num", -1)),
        float(event["dur"]) / 1e6,
        float(arguments.get("epoch", 1)),
        float(arguments.get("images", 0)),
        *(float(micro) / 1e6 for micro in stages),
    )
    if len(row) != 5 + len(STAGES) or not all(abs(each) < MOST_NUMBER for each in row):
        raise ValueError("no step")
    return row


def _node(name: str) -> tuple[int, str]:
    """Rank and host from `<microseconds>_<rank>-<host>_pythontimeline.json`, or as in a file that
    is being written, without the time."""
    parts = name.split("_")
    node = parts[1] if parts[0].isdecimal() and len(parts) > 2 else parts[0]
    rank, dash, host = node.partition("-")
    return (int(rank), host) if dash and rank.isdecimal() else (0, node)


def _operators(folder: Path) -> list[Operator]:
    """Those that the job's own summary names."""
    for name in SUMMARIES:
        try:
            listed = json.loads(_text(folder / name) or "{}").get("operators") or []
            made = [
                Operator(str(each["name"]), str(each["kind"]), int(each["calls"]),
                         float(each["seconds"]), float(each["share"]))
                for each in listed
            ]  # fmt: skip
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        if made:
            return made
    return []
