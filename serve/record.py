"""One line a minute on standard output, in CloudWatch's embedded metric format: CloudWatch Logs
makes metrics of it by itself, without an agent or a call.

A model to which nothing happened in a minute has no line: a log that says nothing still costs, and
CloudWatch takes missing minutes for what they are. What happened before the server ended is told at
its end.
"""

import atexit
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from serve.tally import Numbers
from serve.trace import STAGES
from serve.watch import OTHER, Facts, Watch

MILLISECONDS, COUNT, BYTES = "Milliseconds", "Count", "Bytes"
LAST_SECONDS = 1.0
"""For the last record, if nobody reads what is written."""


def start(watch: Watch) -> None:
    """Records as the settings ask for, until the process ends."""
    if watch.settings.record_seconds:
        recorder = Recorder(watch, watch.settings.record_seconds)
        recorder.start()
        atexit.register(recorder.close)


class Recorder(threading.Thread):
    """Writes the records of every `seconds`, until it is closed."""

    def __init__(
        self, watch: Watch, seconds: float, write: Callable[[str], object] | None = None
    ) -> None:
        super().__init__(name="record", daemon=True)
        self._watch, self._seconds = watch, seconds
        self._write = write or _to_stdout
        self._before: dict[str, Numbers] = {}
        self._facts_before: dict[str, Facts] = {}
        self._closed = threading.Event()

    def run(self) -> None:
        while not self._closed.wait(self._seconds):
            self.tell()
        self.tell()

    def close(self) -> None:
        """The server ends. A reader that has stopped reading does not keep it."""
        self._closed.set()
        self.join(LAST_SECONDS)

    def tell(self) -> None:
        facts = {each.name: each for each in self._watch.facts()}
        tallies = self._watch.tallies()
        for gone in self._before.keys() - tallies.keys():  # its numbers moved, and are told already
            told = self._before.pop(gone)
            self._before[OTHER] = self._before.get(OTHER, Numbers()) + told
        for name in tallies.keys() | facts.keys():
            now = tallies[name].numbers() if name in tallies else Numbers()
            since = now - self._before.get(name, Numbers())
            sample = tallies[name].take_sample() if name in tallies else []
            found = facts.get(name)
            if since.requests or self._changed(found):
                self._write(json.dumps(self._record(name, since, sample, found)) + "\n")
            if name in tallies:
                self._before[name] = now
        self._facts_before = facts

    def _changed(self, now: Facts | None) -> bool:
        if now is None:
            return False
        before = self._facts_before.get(now.name)
        return before is None or (before.ready, before.restarts) != (now.ready, now.restarts)

    def _record(
        self, name: str, since: Numbers, sample: list[float], facts: Facts | None
    ) -> dict[str, Any]:
        metrics = _counts(since) | _times(since, sample)
        if facts is not None:
            before = self._facts_before.get(name)
            restarts = facts.restarts - (before.restarts if before else 0)
            metrics |= {
                "Ready": (int(facts.ready), COUNT),
                "EngineRestarts": (max(0, restarts), COUNT),
                "QueueImages": (facts.waiting, COUNT),
                "EngineMemory": (facts.engine_bytes, BYTES),
            }
        return {
            "_aws": {
                "Timestamp": int(time.time() * 1000),
                "CloudWatchMetrics": [
                    {
                        "Namespace": self._watch.settings.metrics_namespace,
                        "Dimensions": [["Model"]],
                        "Metrics": [{"Name": key, "Unit": metrics[key][1]} for key in metrics],
                    }
                ],
            },
            "Model": name,
            **{key: value for key, (value, _) in metrics.items()},
            **_words(since, facts),
        }


def _counts(since: Numbers) -> dict[str, tuple[Any, str]]:
    by_kind: Counter[int] = Counter()
    for (status, _), count in since.answers.items():
        by_kind[status // 100] += count
    counts = {
        "Requests": (since.requests, COUNT),
        "Images": (since.images, COUNT),
        "Errors4xx": (by_kind[4], COUNT),
        "Errors5xx": (by_kind[5], COUNT),
    }
    batches = since.batches.count
    return counts | ({"BatchImages": (since.batches.sum / batches, COUNT)} if batches else {})


def _times(since: Numbers, sample: list[float]) -> dict[str, tuple[Any, str]]:
    """The sample lets CloudWatch compute percentiles; of the stages it is told the mean."""
    times: dict[str, tuple[Any, str]] = {}
    if sample:
        times["Latency"] = ([round(each * 1000, 2) for each in sample], MILLISECONDS)
    for stage in STAGES:
        spent = since.stages[stage]
        if spent.count:
            mean = round(spent.sum / spent.count * 1000, 3)
            times[f"{stage.capitalize()}Time"] = (mean, MILLISECONDS)
    return times


def _words(since: Numbers, facts: Facts | None) -> dict[str, Any]:
    """For whoever searches the log; CloudWatch makes no metrics of these."""
    refusals: Counter[str] = Counter()
    for (_, refusal), count in since.answers.items():
        if refusal:
            refusals[refusal] += count
    told: dict[str, Any] = {"Refusals": refusals} if refusals else {}
    return told | ({"Engine": facts.engine} if facts is not None else {})


def _to_stdout(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()
