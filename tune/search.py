"""The search: trials side by side, kept in a journal, so that the same command goes on.

Optuna chooses and remembers; each trial is a training job. Whatever kills this program leaves the
journal, the trials' folders and their checkpoints: what was finished counts, what ran is resumed.
"""

import json
import math
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tune import sampling
from tune.keep import Keep
from tune.spec import Specification
from tune.trial import Outcome, Trial, end_orphan

JOURNAL, TRIALS, CACHE = "journal.log", "trials", "cache"
WARM_POOL = "SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY"
IMPROVEMENT = 0.01
"""Of the objective: what counts as better, as the platform has it."""


class SearchStopped(Exception):
    """SIGTERM, the time limit or a reached goal: nothing more is started."""


@dataclass(frozen=True)
class Plan:
    """How many trials run side by side, and on which processors each."""

    processors: list[list[int]]

    @property
    def parallel(self) -> int:
        return len(self.processors)


class Search:
    def __init__(
        self, spec: Specification, base: Path, folder: Path, keep: Keep, say: Callable[[str], None]
    ) -> None:
        self.spec, self.base, self.folder, self.keep, self.say = spec, base, folder, keep, say
        self.stopping = threading.Event()
        self._running: set[Trial] = set()
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
            study_name="search",
            direction="maximize" if spec.objective.maximize else "minimize",
            sampler=sampling.sampler(spec),
            pruner=sampling.pruner(spec),
            load_if_exists=True,
        )
        self._started = time.monotonic()

    # what there is to do

    def run(self, parallel: Callable[[], Plan]) -> None:
        """All trials that are left. The first one runs alone: it shows what one takes, and fills
        the cache that the others share."""
        self._resume()
        if self.spec.strategy == "Grid" and not self.study.trials:
            for values in self.spec.grid():
                self.study.enqueue_trial(values)
        alone = Plan([sorted(_processors())])
        if not self.finished and self.left > 0:
            self._run_some(1, alone)
        if self.left > 0 and not self._over():
            self._run_some(self.left, parallel())

    @property
    def finished(self) -> list[FrozenTrial]:
        done = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        return self.study.get_trials(deepcopy=False, states=done)

    @property
    def left(self) -> int:
        return self.spec.max_trials - len(self.finished)

    @property
    def best(self) -> FrozenTrial | None:
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return max(complete, key=self._goodness, default=None)

    def _goodness(self, trial: FrozenTrial) -> float:
        sign = 1 if self.study.direction == StudyDirection.MAXIMIZE else -1
        return sign * (trial.value if trial.value is not None else -math.inf)

    def _resume(self) -> None:
        """Trials that ran when an earlier start was killed, in their own folders."""
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            end_orphan(self._folder(frozen.number))
            self.say(f"trial {frozen.number}: taken up again")
            trial = optuna.trial.Trial(self.study, frozen._trial_id)
            self._run_one(trial, sorted(_processors()))

    def _run_some(self, count: int, plan: Plan) -> None:
        slots: queue.Queue[list[int]] = queue.Queue()
        for processors in plan.processors:
            slots.put(processors)
        left = iter(range(count))

        def work() -> None:
            while not self._over():
                with self._lock:
                    if next(left, None) is None:
                        return
                    trial = self.study.ask()
                processors = slots.get()
                try:
                    self._run_one(trial, processors)
                finally:
                    slots.put(processors)

        threads = [threading.Thread(target=work) for _ in range(min(count, plan.parallel))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _over(self) -> bool:
        if self.stopping.is_set():
            return True
        reason = self._goal_reached()
        if reason:
            self.say(f"search: {reason}")
            self.stopping.set()
        return bool(reason)

    def _goal_reached(self) -> str:
        spec, best = self.spec, self.best
        seconds = time.monotonic() - self._started
        if spec.max_seconds is not None and seconds > spec.max_seconds:
            return f"the time of {spec.max_seconds:.0f} s is up"
        if best is None or best.value is None:
            return ""
        sign = 1 if spec.objective.maximize else -1
        if spec.target is not None and sign * best.value >= sign * spec.target:
            return f"trial {best.number} has reached {spec.target:g}"
        if spec.not_improving is not None and self._since_better() >= spec.not_improving:
            return f"no trial of the last {spec.not_improving} was better by {IMPROVEMENT:.0%}"
        return ""

    def _since_better(self) -> int:
        """Trials since the best so far was beaten by IMPROVEMENT."""
        best, since = -math.inf, 0
        for trial in self.finished:
            good = self._goodness(trial) if trial.state == TrialState.COMPLETE else -math.inf
            if good > best + IMPROVEMENT * abs(best) if math.isfinite(best) else good > best:
                best, since = good, 0
            else:
                since += 1
        return since

    # one trial

    def _folder(self, number: int) -> Path:
        return self.folder / TRIALS / f"{number:04d}"

    def _run_one(self, trial: optuna.Trial, processors: list[int]) -> None:
        values = sampling.suggest(trial, self.spec.ranges)
        chosen = ", ".join(f"{name}={value}" for name, value in values.items())
        self.say(f"trial {trial.number}: {chosen}")
        job = Trial(self._folder(trial.number), self.base, f"{self.base.name}-{trial.number:04d}")
        job.prepare({**self.spec.static, **values}, self.spec.objective.name)
        with self._lock:
            self._running.add(job)
        started = time.monotonic()
        try:
            if self.stopping.is_set():
                return
            outcome = job.run(
                self.spec.objective.regex,
                {WARM_POOL: str(self.folder / CACHE)},
                lambda step, value: self._report(trial, step, value),
                processors,
            )
        finally:
            with self._lock:
                self._running.discard(job)
        self._tell(trial, job, outcome, time.monotonic() - started)

    def _report(self, trial: optuna.Trial, step: int, value: float) -> bool:
        trial.report(value, step)
        return not trial.should_prune()

    def _tell(self, trial: optuna.Trial, job: Trial, outcome: Outcome, seconds: float) -> None:
        if outcome.state == "stopped":
            return  # it stays as it is, and the next start takes it up again
        trial.set_user_attr("seconds", round(seconds, 1))
        if outcome.reason:
            trial.set_user_attr("reason", outcome.reason)
        states = {
            "complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL,
        }  # fmt: skip
        with self._lock:
            told = outcome.value if outcome.state == "complete" else None
            self.study.tell(trial, told, state=states[outcome.state])
            self.keep.after(job.folder, self._ranked())
        value = "" if outcome.value is None else f" {self.spec.objective.name}={outcome.value:.6g}"
        reason = f" ({outcome.reason})" if outcome.reason else ""
        self.say(f"trial {trial.number}: {outcome.state}{value} after {seconds:.0f} s{reason}")

    def _ranked(self) -> list[Path]:
        """Folders of complete trials, the best first."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        ordered = sorted(complete, key=self._goodness, reverse=True)
        return [self._folder(trial.number) for trial in ordered]

    def stop(self) -> None:
        """Nothing more is started; what runs leaves a checkpoint."""
        self.stopping.set()
        with self._lock:
            running = [*self._running]
        for job in running:
            job.stop("stopped")


def _processors() -> set[int]:
    try:
        return os.sched_getaffinity(0)
    except AttributeError:  # not on macOS
        return set(range(os.cpu_count() or 1))
