"""The training's side of `debugger/live.py`: starts it, hears it, and says what a rule asks for.

Nothing here waits while training runs, and nothing that happens to the other process harms the
job: a rule process that dies is one line in the log.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from debugger.rules.asked import Asked

NAME = "verdicts.json"
VERSION = 1
CLOSE_SECONDS = 60.0
"""For the rest of the steps, once training is over."""
HURRY_SECONDS = 5.0
"""The same where the platform wants the job to end."""
WORDS = {
    "warn": "",
    "stop": "; action stop ends the job",
    "stop_and_keep_best": "; action stop_and_keep_best ends training here",
}


class Rules(Protocol):
    def stopped_by(self) -> str: ...
    def ended_by(self) -> str: ...
    def close(self, hurry: bool = False) -> None: ...


class NoRules:
    """Of a job that asks for none, and of every process but the leader."""

    def stopped_by(self) -> str:
        return ""

    def ended_by(self) -> str:
        return ""

    def close(self, hurry: bool = False) -> None: ...


class Beside:
    """Rules that look at `tensors` as they are saved. `output` holds metrics.jsonl and doctor.json
    at the end, and takes `verdicts.json`:

        {"version": 1, "stopped_by", "ended_by", "verdicts": [...], "cpu_seconds", "cpu_share"}
    """

    def __init__(
        self,
        rules: list[Asked],
        tensors: Path,
        output: Path,
        hyperparameters: dict[str, Any],
        labels: list[str],
        say: Callable[[str], None],
    ) -> None:
        self._say, self._output = say, output
        self._rules = rules
        self._stopped_by = self._ended_by = ""
        self._started = time.monotonic()
        self._heard: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._last: dict[str, Any] | None = None
        self._said: set[str] = set()
        self._closed = False
        request = {
            "tensors": str(tensors), "output": str(output), "hyperparameters": hyperparameters,
            "labels": labels, "rules": [each.as_dict() for each in rules],
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "debugger.live"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            cwd=root(), env=environment(),
        )  # fmt: skip
        assert self._process.stdin is not None
        with suppress(OSError):  # dead already: its end is heard below
            self._process.stdin.write(json.dumps(request, default=str).encode() + b"\n")
            self._process.stdin.flush()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with suppress(ValueError):
                self._heard.put(json.loads(line))
        self._heard.put({"kind": "gone"})

    def stopped_by(self) -> str:
        """Why a rule with action `stop` wants the job to end; empty while none does."""
        self._hear()
        return self._stopped_by

    def ended_by(self) -> str:
        """The same of action `stop_and_keep_best`."""
        self._hear()
        return self._ended_by

    def _hear(self) -> None:
        while not self._heard.empty():
            said = self._heard.get()
            if said["kind"] == "fired":
                self._fired(said)
            elif said["kind"] == "ended":
                self._last = said
            elif said["kind"] == "failed":
                self._say(f"debugger: rules turned off: {said['words']}")
                self._closed = True
            elif said["kind"] == "gone" and self._last is None and not self._closed:
                self._closed = True
                self._say("debugger: the process of the rules has died; training goes on")

    def _fired(self, said: dict[str, Any]) -> None:
        rule, action, verdict = said["rule"], said["action"], said["verdict"]
        reason = verdict["reason"]
        self._said.add(rule)
        advice = f"; {verdict['advice']}" if verdict.get("advice") else ""
        self._say(
            f"debugger: rule {rule} fired at step {said['step']}: {reason}{advice}{WORDS[action]}"
        )
        why = f"rule {rule} at step {said['step']}: {reason}"
        if action == "stop":
            self._stopped_by = self._stopped_by or why
        elif action == "stop_and_keep_best":
            self._ended_by = self._ended_by or why

    def close(self, hurry: bool = False) -> None:
        """Hears the rest, says what has not been said, and writes `verdicts.json`."""
        if self._process.stdin is None or self._process.stdin.closed:
            return
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(HURRY_SECONDS if hurry else CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(5)
        stopped, ended = self._stopped_by, self._ended_by
        self._hear()
        # nothing is stopped any more by what is only heard now
        self._stopped_by, self._ended_by = stopped, ended
        if self._last is not None:
            self._write(self._last)
        elif not self._closed:
            self._say("debugger: the rules were not done in time; run diagnose over the output")

    def _write(self, last: dict[str, Any]) -> None:
        wall = time.monotonic() - self._started
        issues = [each for each in last["verdicts"] if each["status"] == "IssuesFound"]
        for each in issues:
            if each["rule"] not in self._said:
                advice = f"; {each['advice']}" if each["advice"] else ""
                self._say(f"debugger: rule {each['rule']}: {each['reason']}{advice}")
        for each in last["verdicts"]:
            if each["status"] == "Error":
                self._say(f"debugger: rule {each['rule']} failed: {each['reason']}")
        share = last["cpu_seconds"] / wall
        self._say(
            f"debugger: {len(last['verdicts'])} rules over {last['steps']} saved steps: "
            f"{len(issues)} issues; {last['cpu_seconds']:.1f} s of a processor, {share:.1%} of one"
        )
        text = json.dumps({
            "version": VERSION, "stopped_by": self._stopped_by, "ended_by": self._ended_by,
            "cpu_seconds": last["cpu_seconds"], "cpu_share": share, "verdicts": last["verdicts"],
        }, indent=1)  # fmt: skip
        try:
            self._output.mkdir(parents=True, exist_ok=True)
            partial = self._output / f".{NAME}.partial"
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, self._output / NAME)
        except OSError as error:
            self._say(f"debugger: {NAME} cannot be written: {error}")


def root() -> Path:
    """Files are imported from where this program's own are."""
    return Path(__file__).resolve().parents[1]


def environment() -> dict[str, str]:
    """Of a process of ours beside the training: one thread; and it finds the user's files, too."""
    given = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join([str(root()), given]) if given else str(root())
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    return {**os.environ, **threads, "PYTHONPATH": path}


def start(
    rules: list[Asked],
    tensors: Path | None,
    output: Path,
    hyperparameters: dict[str, Any],
    labels: list[str],
    say: Callable[[str], None],
) -> Rules:
    """None of which the job dies: where the process cannot be started, training goes on."""
    if not rules:
        return NoRules()
    if tensors is None:
        say("debugger: rules are asked for and no tensors are saved; diagnose reads the rest")
        tensors = output / "no-tensors"
    try:
        return Beside(rules, tensors, output, hyperparameters, labels, say)
    except OSError as error:
        say(f"debugger: the rules cannot be started: {error}")
        return NoRules()
