"""One trial: a whole training job in a folder tree of its own, watched through its log."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from tune.footprint import Footprint

State = Literal["complete", "pruned", "failed", "stopped"]

LOG, PROCESS = "log.txt", "process.json"
STOP_SECONDS = 100.0
"""For a trial to leave a checkpoint after SIGTERM; then it is killed. The platform gives 120."""
NO_VALUE = "hyperparameter: the log has no value of the objective"
OF_THE_VALUES = ("non-finite-loss", "rule: ")
"""Failures that speak of this trial's hyperparameters, not of the search."""
EPOCH = re.compile(r"\bepoch=(\d+)\b")


@dataclass(frozen=True)
class Outcome:
    state: State
    value: float | None
    """Of the objective: the last in the log, as the platform has it."""
    reason: str
    peak_bytes: int
    """Most memory that the job's processes held at a time."""


class Trial:
    """`folder` becomes a base folder of the training program: its channels are the search's own."""

    def __init__(self, folder: Path, base: Path, name: str) -> None:
        self.folder, self.base, self.name = folder, base, name
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: State | None = None
        self._lock = threading.Lock()

    def prepare(self, hyperparameters: dict[str, str], objective: str) -> None:
        config = self.folder / "input" / "config"
        config.mkdir(parents=True, exist_ok=True)
        values = {**hyperparameters, "_tuning_objective_metric": objective}
        (config / "hyperparameters.json").write_text(json.dumps(values, indent=1))
        data = self.folder / "input" / "data"
        if not data.is_symlink():
            data.symlink_to(self.base / "input" / "data", target_is_directory=True)
        given = self.base / "input" / "config" / "inputdataconfig.json"
        if given.is_file():
            (config / given.name).write_bytes(given.read_bytes())

    def run(
        self,
        regex: str,
        environment: dict[str, str],
        seen: Callable[[int, float], bool],
    ) -> Outcome:
        """To its end. `seen` is told every value of the objective with its epoch, from 1, and says
        whether to go on. A log of an earlier start counts: its job may have been at its end."""
        pattern, values = re.compile(regex), dict[int, float]()
        with (self.folder / LOG).open("a+b") as log:
            log.seek(0)
            for line in log:
                _read(line, pattern, values)
            process = self._start(environment)
            assert process.stdout is not None
            try:
                with process.stdout as lines, Footprint(process.pid) as footprint:
                    for line in lines:
                        log.write(line)
                        log.flush()
                        epoch = _read(line, pattern, values)
                        if (
                            epoch
                            and math.isfinite(values[epoch])
                            and not seen(epoch, values[epoch])
                        ):
                            self.stop("pruned")
                    code = process.wait()
            finally:
                if process.poll() is None:  # a full disk, say: nobody would read it any more
                    _kill_family(process.pid)
                    process.wait()
        (self.folder / PROCESS).unlink(missing_ok=True)
        return self._outcome(code, [values[epoch] for epoch in sorted(values)], footprint.peak)

    def _start(self, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        own = {
            **os.environ, **environment,
            "SAGEMAKER_BASE_DIR": str(self.folder), "TRAINING_JOB_NAME": self.name,
        }  # fmt: skip
        with self._lock:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "container.supervisor", "train"],
                env=own, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            self._process = process
            known = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
            (self.folder / PROCESS).write_text(json.dumps(known))
            if self._asked is not None:
                self._terminate(process)
        return process

    def stop(self, why: State) -> None:
        """As the platform stops a job; what it has learned stays in its checkpoint."""
        with self._lock:
            first, self._asked = self._asked is None, self._asked or why
            if first and self._process is not None:
                self._terminate(self._process)

    def _terminate(self, process: "subprocess.Popen[bytes]") -> None:
        process.send_signal(signal.SIGTERM)
        threading.Thread(target=_kill_late, args=(process,), daemon=True).start()

    def _outcome(self, code: int, values: list[float], peak: int) -> Outcome:
        last = values[-1] if values else None
        reason = self._reason()

        def outcome(state: State, why: str) -> Outcome:
            finite = last if last is not None and math.isfinite(last) else None
            return Outcome(state, finite, why, peak)

        if self._asked == "stopped":
            return outcome("stopped", "the search was stopped")
        if self._asked == "pruned":
            return outcome("pruned", "worse than the others at this epoch")
        if code != 0 and reason.startswith(OF_THE_VALUES):
            return outcome("pruned", reason)
        if code != 0:
            return outcome("failed", reason or f"exit code {code}")
        if last is None:
            fix = "correct the Regex of its metric definition"
            return outcome("failed", f"{NO_VALUE}; fix: {fix}")
        if not math.isfinite(last):
            return outcome("pruned", f"the objective is {last}")
        return outcome("complete", self._ended_by())

    def _ended_by(self) -> str:
        """Of a trial with a model: the rule, if any, that ended its training early."""
        try:
            described = json.loads((self.folder / "model" / "model.json").read_bytes())
            said: str = described["training"].get("ended_by", "")
        except (OSError, ValueError, LookupError, AttributeError):
            return ""
        return said

    def _reason(self) -> str:
        try:
            text = (self.folder / "output" / "failure").read_text(encoding="utf-8")
        except OSError:
            return ""
        return (text.splitlines() or [""])[0]


def end_orphan(folder: Path) -> None:
    """The processes of a trial whose search was killed: two must not write one checkpoint."""
    with suppress(OSError, ValueError, KeyError, psutil.NoSuchProcess):
        known = json.loads((folder / PROCESS).read_text())
        process = psutil.Process(known["pid"])
        if abs(process.create_time() - known["started"]) < 1:  # else the number is another's by now
            _kill_family(process.pid)


def _kill_late(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        _kill_family(process.pid)


def _kill_family(pid: int) -> None:
    family = []
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(family, timeout=10)


def _read(line: bytes, pattern: re.Pattern[str], values: dict[int, float]) -> int:
    """Puts a value of the objective under its epoch, which is returned; 0 where there is none."""
    text = line.decode("utf-8", "replace")
    found = pattern.search(text)
    if found is None:
        return 0
    try:
        value = float(found.group(1))
    except (ValueError, TypeError):
        return 0
    told = EPOCH.search(text)
    epoch = int(told.group(1)) if told else max(values, default=0) + 1
    values[epoch] = value
    return epoch
