"""What an engine is told at its start, and what it tells of itself: lines of JSON over a pipe."""

import json
import os
import threading
from dataclasses import asdict, dataclass
from typing import Any

BEAT_SECONDS = 0.25
SILENT_SECONDS = 1.5
"""An engine that has been silent for so long is stopped or stuck: six beats are missing."""

BEAT = b"\n"


@dataclass(frozen=True)
class Orders:
    """File descriptors are those of the child; a socket for each batch on its way. Of batches that
    are computed at a time `streams` are the most, and `streams_alone` those that get all threads.
    """

    sockets: list[int]
    control: int
    lifeline: int
    model_dir: str
    device: str
    precision: str
    threads: int
    batch_images: int
    streams: int
    streams_alone: int

    def as_argument(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_argument(cls, text: str) -> "Orders":
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Loaded:
    """The engine's name in the artifact's `engines`, and the seconds of a whole batch when warm."""

    engine: str
    device: str
    batch_seconds: float
    streams: int
    """Batches that it computes at a time."""
    batch_images: int
    """Most in a mini-batch that it gains from."""
    note: str = ""
    """How its arithmetic was chosen, where that was measured."""


def lanes(streams: int) -> int:
    """Batches that may be with an engine which computes `streams` at a time: some lie ready for
    those that are done next."""
    return streams + max(1, streams // 4)


class Reporter:
    """The engine's end of the pipe. A parent that is gone is no error: the lifeline ends us."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def progress(self, text: str) -> None:
        self._write(json.dumps({"progress": text}).encode() + b"\n")

    def loaded(self, facts: Loaded) -> None:
        self._write(json.dumps({"loaded": asdict(facts)}).encode() + b"\n")

    def failed(self, reason: str, final: bool) -> None:
        """`final` where another try would fail in the same way."""
        self._write(json.dumps({"failed": reason, "final": final}).encode() + b"\n")

    def beat(self) -> None:
        self._write(BEAT)

    def _write(self, data: bytes) -> None:
        with self._lock:
            try:
                os.write(self._descriptor, data)
            except OSError:
                return


def parse(line: bytes) -> dict[str, Any]:
    """A message; an empty one for a beat."""
    return json.loads(line) if line.strip() else {}
