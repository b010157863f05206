"""What a job says: one metrics line per epoch, progress between them, and the same as JSON.

    epoch=3 step=1200 train_loss=0.4312 ... validation_top1_accuracy=0.8710 images_per_second=412.3

One `name=value` per metric, so that `name=([0-9.eE+-]+)` finds each exactly once in a line, and no
name ends in another one.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

NUMBER = r"([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf))"
"""What `name=` or `name: ` is followed by, as a group: for metric definitions."""
SILENCE_SECONDS = 30.0
"""A log gets a progress line at least this often, however long a step takes."""


def say(line: str) -> None:
    print(line, flush=True)


def metrics_line(metrics: dict[str, Any]) -> str:
    return " ".join(f"{name}={_number(value)}" for name, value in metrics.items())


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    # small values keep their digits: 0.00001 would print as 0.0000
    return f"{value:.4f}" if abs(value) >= 0.001 or value == 0 else f"{value:.3e}"


class MetricsFile:
    """`metrics.jsonl`: one object per epoch, the names of the metrics line."""

    def __init__(self, path: Path, history: list[dict[str, Any]]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        lines = "".join(json.dumps(metrics) + "\n" for metrics in history)
        path.write_text(lines, encoding="utf-8")  # a resumed job's earlier epochs, once

    def add(self, metrics: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")


class Bar:
    """Progress over `total` images: a bar on a terminal, plain lines in a log."""

    def __init__(self, title: str, total: int, interval: int = 0) -> None:
        self.title = title
        self.total = total
        self.interval = interval
        self.done = 0
        self._calls = 0
        self._told = time.monotonic()
        self._bar: tqdm[Any] | None = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=total, desc=title, unit="image", leave=False, dynamic_ncols=True)

    def advance(self, images: int, note: str = "") -> None:
        self.done += images
        self._calls += 1
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(images)
            return
        late = time.monotonic() - self._told > SILENCE_SECONDS
        if late or (self.interval and self._calls % self.interval == 0):
            self._told = time.monotonic()
            say(f"{self.title}: {self.done} of {self.total} images {note}".rstrip())

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            # the bar's last carriage return must not share a line with a metric
            print(file=sys.stderr, flush=True)
