"""The steps of one process as SageMaker's framework events, which smdebug's reader reads.

    framework/pevents/<YYYYMMDDHH, UTC>/<last event's end>_<rank>-<host>_pythontimeline.json

The end is in microseconds since 1970.
A file is a list of Chrome-trace events: `Step:ModeKeys.TRAIN` with the step's number, as smdebug
writes it, and one event per stage, the stages one after the other as if each had run once: where a
step has several micro-batches their stages are summed. Our own reader takes a step from its first
event alone, whose `args` hold epoch, images and the stages' microseconds in the order of STAGES.
A file that is not complete is called `.tmp` and lies beside the folders, as smdebug has it.

Small steps come by the thousand a second, and a week has many. After MOST steps only every second
one is written, after so many more every fourth, and so on: the files grow by the logarithm.
"""

import json
import os
import time
from pathlib import Path
from typing import IO, NamedTuple

from debugger.profiler.lines import hour_folder
from debugger.profiler.measured import STAGES
from debugger.profiler.settings import Settings

SUFFIX = "pythontimeline.json"
STEP = "Step:ModeKeys.TRAIN"
MOST = 5_000
FLUSH_STEPS, FLUSH_SECONDS = 512, 1.0


class Step(NamedTuple):
    """One update, as it was timed."""

    number: int
    """Updates done before it."""
    epoch: int
    """From 1."""
    images: int
    start: float
    """Seconds since 1970."""
    seconds: float
    stages: tuple[float, ...]
    """Seconds, by STAGES."""


class Timeline:
    """Steps are kept for a second and then written, in the thread that trains: formatting one takes
    microseconds. Raises nothing; `error` has why nothing more is written."""

    def __init__(self, settings: Settings, host: str, rank: int) -> None:
        self.settings = settings
        self.error = ""
        self._node = f"{rank}-{host}".replace("_", "-").replace("/", "-")
        self._waiting: list[Step] = []
        self._flushed = time.monotonic()
        self._seen = self._kept = 0
        self._stride = 1
        self._file: IO[str] | None = None
        self._path = Path()
        self._origin = self._end = 0
        self._opened = 0.0
        self._failed = 0

    def add(self, step: Step) -> None:
        self._seen += 1
        if self._seen % self._stride:
            return
        self._kept += 1
        if self._kept % MOST == 0:
            self._stride *= 2
        self._waiting.append(step)
        if len(self._waiting) >= FLUSH_STEPS or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes what is kept; ends the file where it is old or large enough."""
        self._flushed = time.monotonic()
        waiting, self._waiting = self._waiting, []
        if self._failed >= self.settings.open_failures or not (waiting or self._file):
            return
        try:
            if waiting:
                if self._file is None:
                    self._open(waiting[0].start)
                assert self._file is not None
                self._file.write("".join(self._events(step) for step in waiting))
                self._file.flush()
                self._end = max(self._end, _micro(waiting[-1].start + waiting[-1].seconds))
            self._failed = 0
            if self._file is not None and self._due():
                self._finish()
        except OSError as error:
            self._failed += 1
            self.error, self._file = str(error), None

    def close(self) -> None:
        self.flush()
        try:
            self._finish()
        except OSError as error:
            self.error = str(error)

    def _due(self) -> bool:
        assert self._file is not None
        old = time.monotonic() - self._opened >= self.settings.rotate_seconds
        return old or self._file.tell() >= self.settings.rotate_bytes

    def _open(self, start: float) -> None:
        folder = self.settings.folder / "framework"
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{self._node}_{SUFFIX}.tmp"
        if self._path.exists():
            self._rescue()
        self._file = self._path.open("w", encoding="utf-8")
        self._origin, self._end, self._opened = _micro(start), _micro(start), time.monotonic()
        head = [{"name": "process_name", "ph": "M", "pid": 0,
                 "args": {"start_time_since_epoch_in_micros": self._origin}}]  # fmt: skip
        for pid, name in enumerate((STEP, *STAGES), 1):
            head.append({"name": "process_name", "ph": "M", "pid": pid, "args": {"name": name}})
        # events come with a comma before them: the end of a file that was cut is easily mended
        self._file.write("[\n" + ",\n".join(json.dumps(each) for each in head))

    def _events(self, step: Step) -> str:
        at, process = _micro(step.start) - self._origin, os.getpid()
        stages = [round(seconds * 1e6) for seconds in step.stages]
        text = [
            f',\n{{"name":"{STEP}","pid":1,"ph":"X","ts":{at},"dur":{round(step.seconds * 1e6)},'
            f'"args":{{"pid":{process},"step_num":"{step.number}","epoch":{step.epoch},'
            f'"images":{step.images},"stages":{stages}}}}}'
        ]
        for pid, (name, length) in enumerate(zip(STAGES, stages, strict=True), 2):
            if length:
                text.append(
                    f',\n{{"name":"{name}","pid":{pid},"ph":"X","ts":{at},"dur":{length},'
                    f'"args":{{"pid":{process}}}}}'
                )
                at += length
        return "".join(text)

    def _rescue(self) -> None:
        """Ends the file of an earlier process of this name, which was killed, as its own would."""
        text = self._path.read_text(encoding="utf-8", errors="replace")
        last = text.rfind(",\n{")
        try:
            json.loads(text[last + 2 :])
        except ValueError:
            text = text[: max(last, 0)] or "["
        end = self._path.stat().st_mtime
        self._path.write_text(f"{text}\n]\n", encoding="utf-8")
        self._put_away(end)

    def _put_away(self, end: float) -> None:
        folder = hour_folder(self.settings.folder / "framework" / "pevents", end)
        self._path.rename(folder / f"{_micro(end)}_{self._node}_{SUFFIX}")

    def _finish(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        with file:
            file.write("\n]\n")
        self._put_away(self._end / 1e6)


def _micro(seconds: float) -> int:
    return round(seconds * 1e6)
