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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

State = Literal["complete", "pruned", "failed", "stopped"]

LOG, RESULT, PROCESS = "log.txt", "trial.json", "process.json"
STOP_SECONDS = 60.0
"""For a trial to leave a checkpoint after SIGTERM; then it is killed."""


@dataclass
class Outcome:
    state: State
    value: float | None = None
    reason: str = ""
    values: list[float] = field(default_factory=list)
    """Of the objective, in the order of the log."""


class Trial:
    """`folder` becomes a base folder of the training program: its channels are the search's own."""

    def __init__(self, folder: Path, base: Path, name: str) -> None:
        self.folder, self.base, self.name = folder, base, name
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: str | None = None
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
        processors: list[int],
    ) -> Outcome:
        """To its end. `seen` is told every value of the objective, numbered from 1, and says
        whether to go on."""
        values: list[float] = []
        pattern = re.compile(regex)
        with (self.folder / LOG).open("ab") as log:
            process = self._start(environment, processors)
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                log.flush()
                for match in pattern.finditer(line.decode("utf-8", "replace")):
                    value = _number(match.group(1))
                    if value is None:
                        continue
                    values.append(value)
                    if math.isfinite(value) and not seen(len(values), value):
                        self.stop("pruned")
            code = process.wait()
        (self.folder / PROCESS).unlink(missing_ok=True)
        return self._outcome(code, values)

    def _start(
        self, environment: dict[str, str], processors: list[int]
    ) -> "subprocess.Popen[bytes]":
        own = {
            **os.environ, **environment, "SAGEMAKER_BASE_DIR": str(self.folder),
            "TRAINING_JOB_NAME": self.name,
        }  # fmt: skip
        with self._lock:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "container.supervisor", "train"],
                env=own, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            self._process = process
        if hasattr(os, "sched_setaffinity"):  # what it starts inherits it
            os.sched_setaffinity(process.pid, processors)
        known = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
        (self.folder / PROCESS).write_text(json.dumps(known))
        if self._asked is not None:
            process.send_signal(signal.SIGTERM)
        return process

    def stop(self, why: State) -> None:
        """As the platform stops a job; what it has learned stays in its checkpoint."""
        with self._lock:
            self._asked = self._asked or why
            process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        threading.Timer(STOP_SECONDS, _kill_if_alive, [process]).start()

    def _outcome(self, code: int, values: list[float]) -> Outcome:
        finite = [value for value in values if math.isfinite(value)]
        last = finite[-1] if finite else None
        reason = self._reason()
        if self._asked == "stopped":
            return Outcome("stopped", last, "the search was stopped", values)
        if self._asked == "pruned":
            return Outcome("pruned", last, "worse than the others at this epoch", values)
        if code != 0 and reason.startswith("non-finite-loss"):
            return Outcome("pruned", last, reason, values)
        if code != 0:
            return Outcome("failed", last, reason or f"exit code {code}", values)
        if last is None:
            return Outcome("failed", None, "the log has no value of the objective", values)
        return Outcome("complete", last, "", values)

    def _reason(self) -> str:
        try:
            text = (self.folder / "output" / "failure").read_text(encoding="utf-8")
        except OSError:
            return ""
        return (text.splitlines() or [""])[0]


def end_orphan(folder: Path) -> None:
    """The process of a trial whose search was killed: two must not write one checkpoint."""
    try:
        known = json.loads((folder / PROCESS).read_text())
        process = psutil.Process(known["pid"])
        if abs(process.create_time() - known["started"]) > 1:
            return  # the number is another process's by now
        family = [process, *process.children(recursive=True)]
    except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
        return
    for one in family:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=10)


def _kill_if_alive(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.kill()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
