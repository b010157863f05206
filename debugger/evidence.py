"""What a job leaves beside its tensors: found below a folder, whatever the folder's layout is.

Ours (`/opt/ml`, an unpacked `output.tar.gz`, a trial of a search), the platform's on S3
(`<job>/debug-output`, `profiler-output`, `output`), or one that plain smdebug has written.
"""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_FOLDERS = 20_000
"""Looked into below one folder: somebody may name a whole disk."""
MOST_BYTES = 64 << 20
"""Of one file that is read whole."""
NOT_ENTERED = frozenset({"events", "index", "data", "checkpoints", "engine", ".git"})
"""Folders with many files and none of ours; `data` below `output` is entered all the same."""


@dataclass(frozen=True)
class Evidence:
    """Empty where a job has left nothing of the kind."""

    folder: Path | None = None
    tensors: list[Path] = field(default_factory=list)
    """Folders that smdebug's reader opens."""
    profiler: list[Path] = field(default_factory=list)
    """Folders that hold the platform's `system` or `framework` metrics."""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    """One object per epoch, from `metrics.jsonl`."""
    doctor: dict[str, Any] = field(default_factory=dict)
    """`doctor.json`: what was found in the photos."""
    model: dict[str, Any] = field(default_factory=dict)
    """`model.json`."""
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    failure: str = ""
    """The reason why the job failed."""
    damaged: list[str] = field(default_factory=list)
    """Files that could not be read, and why."""

    @property
    def classes(self) -> int | None:
        """How many the network tells apart, where that is known."""
        labels = self.model.get("labels")
        if isinstance(labels, list) and len(labels) > 1:
            return len(labels)
        return None

    def number(self, name: str) -> float | None:
        """A hyperparameter's value, where it is a number."""
        try:
            return float(self.hyperparameters[name])
        except (KeyError, TypeError, ValueError):
            return None

    def word(self, name: str) -> str:
        value = self.hyperparameters.get(name, "")
        return str(value).strip().strip('"').lower()

    def curve(self, name: str) -> list[float]:
        """One metric over the epochs that have it; may hold infinities and not-a-numbers."""
        values = (each.get(name) for each in self.metrics)
        return [float(v) for v in values if isinstance(v, int | float)]

    @property
    def anything(self) -> bool:
        return bool(self.tensors or self.profiler or self.metrics or self.doctor or self.failure)


def find(folder: Path, *more: Path) -> Evidence:
    """Everything below `folder`, and below others of the same job; of several files of a name the
    one nearest to it."""
    tensors: list[Path] = []
    profiler: list[Path] = []
    damaged: list[str] = []
    named: dict[str, Path] = {}
    for root, files in folders(folder, *more):
        if root.name == "collections" or root.parent.name == "collections":
            if any(name.endswith("_collections.json") for name in files):
                base = root.parent if root.name == "collections" else root.parent.parent
                tensors.append(base)
            continue
        if root.name in ("incremental", "pevents") and root.parent.name in ("system", "framework"):
            profiler.append(root.parent.parent)
        for name in ("metrics.jsonl", "doctor.json", "model.json", "hyperparameters.json",
                     "failure"):  # fmt: skip
            if name in files and name not in named:
                named[name] = root / name
    model = _object(named.get("model.json"), damaged)
    given = _object(named.get("hyperparameters.json"), damaged)
    known = model.get("hyperparameters")
    return Evidence(
        folder=folder,
        tensors=sorted(set(tensors)),
        profiler=sorted(set(profiler)),
        metrics=_lines(named.get("metrics.jsonl"), damaged),
        doctor=_object(named.get("doctor.json"), damaged),
        model=model,
        hyperparameters={**given, **(known if isinstance(known, dict) else {})},
        failure=_text(named.get("failure"), damaged)[:4096],
        damaged=damaged,
    )


def folders(*roots: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each with the names of its files, the nearest first."""
    waiting = list(roots)
    for _ in range(MOST_FOLDERS):
        if not waiting:
            return
        here = waiting.pop(0)
        files, below = [], []
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.name)
                    else:
                        files.append(entry.name)
        except OSError:
            continue
        yield here, files
        for name in sorted(below):
            if name not in NOT_ENTERED or (name == "data" and here.name == "output"):
                waiting.append(here / name)


def _text(path: Path | None, damaged: list[str]) -> str:
    if path is None:
        return ""
    try:
        if not path.is_file():
            raise OSError("no regular file")  # reading a pipe or a device would never end
        if path.stat().st_size > MOST_BYTES:
            raise OSError(f"larger than {MOST_BYTES >> 20} MiB")
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        damaged.append(f"{path}: {error}")
        return ""


def _object(path: Path | None, damaged: list[str]) -> dict[str, Any]:
    text = _text(path, damaged)
    if not text:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        damaged.append(f"{path}: {error}")
        return {}
    return value if isinstance(value, dict) else {}


def _lines(path: Path | None, damaged: list[str]) -> list[dict[str, Any]]:
    """A last line that a kill has cut in half is left out."""
    rows = []
    for number, line in enumerate(_text(path, damaged).splitlines(), 1):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            damaged.append(f"{path}: line {number} is not JSON")
            continue
        wrong = [name for name in ("step", "epoch") if not _counts(value, name)]
        if wrong:
            damaged.append(f"{path}: line {number}: {wrong[0]} is no whole number")
        elif isinstance(value, dict):
            rows.append(value)
    return rows


def _counts(row: Any, name: str) -> bool:
    """Whether what is there of this name is a whole number."""
    return not isinstance(row, dict) or isinstance(row.get(name, 0), int)


def chance_loss(classes: int) -> float:
    """Cross-entropy of an answer that gives every class the same probability."""
    return math.log(classes)
