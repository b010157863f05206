"""The search: trials side by side, kept in a journal, so that the same command goes on.

Optuna chooses and remembers; each trial is a training job. Whatever kills this program leaves the
journal, the trials' folders and their checkpoints: what was finished counts, what ran is resumed.
"""

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from container import failure
from tune import journal, sampling, slots
from tune.keep import Keep
from tune.slots import Slot
from tune.spec import Specification
from tune.trial import NO_VALUE, Outcome, Trial, end_orphan

TRIALS, CACHE = "trials", "cache"
WARM_POOL = "SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY"
"""Environment variable: trials share the features of a frozen backbone through this folder."""
IMPROVEMENT = 0.01
"""Of the objective: what counts as better, as the platform has it."""
DONE = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
ALIKE = ("channel", "data", "permission", "device", "shared-memory", "disk-full")
"""Failures that all trials would share, whatever their hyperparameters."""


class Search:
    """`base` is the base folder whose channels are trained on, `folder` the search's own."""

    def __init__(
        self,
        spec: Specification,
        base: Path,
        folder: Path,
        keep: Keep,
        say: Callable[[str], None],
        told: Callable[[optuna.Study], None],
    ) -> None:
        self.spec, self.base, self.folder, self.keep, self.say = spec, base, folder, keep, say
        self._told = told
        self.stopping = threading.Event()
        """Somebody has asked for the end, or something has failed."""
        self._reached = threading.Event()
        self._failed: failure.Failure | None = None
        self._running: set[Trial] = set()
        self._lock = threading.RLock()
        self._started = time.monotonic()
        self.study = journal.study(spec, folder)
        journal.learn(self.study, spec, base, say)
        self._interrupted = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for trial in self._interrupted:
            end_orphan(self.trial_folder(trial.number))
        if spec.strategy == "Grid":
            known = [trial.system_attrs.get("fixed_params") for trial in self.own()]
            for values in spec.grid():
                if values not in known:  # a start may have been killed while it did this
                    self.study.enqueue_trial(values)

    # what there is

    def own(self, *states: TrialState) -> list[FrozenTrial]:
        """Trials of this search, not of its parents."""
        trials = self.study.get_trials(deepcopy=False, states=states or None)
        return [trial for trial in trials if journal.PARENT not in trial.user_attrs]

    @property
    def ranked(self) -> list[FrozenTrial]:
        """Complete trials, the best first."""
        return sorted(self.own(TrialState.COMPLETE), key=self._goodness, reverse=True)

    def _goodness(self, trial: FrozenTrial) -> float:
        sign = 1 if self.study.direction == StudyDirection.MAXIMIZE else -1
        return -math.inf if trial.value is None else sign * trial.value

    def trial_folder(self, number: int) -> Path:
        return self.folder / TRIALS / f"{number:04d}"

    @property
    def left(self) -> int:
        return self.spec.max_trials - len(self.own(*DONE))

    # all trials

    def run(self) -> None:
        """Those that are left. The first one runs alone: it shows what a trial takes, and fills the
        cache that the others share. Raises Failure where all would fail alike."""
        if not self.own(*DONE):
            self._run_some(1, [{}])
        if self.left > 0 and not self._over():
            done = self.own(*DONE)
            peak = max(trial.user_attrs.get("peak_bytes", 0) for trial in done)
            places = slots.plan(min(self.spec.parallel_trials, self.left), peak)
            self.say(self.keep.budget(self._folders(done), self.left, len(places)))
            self.say(
                f"search: {self.left} trials left, {len(places)} at a time "
                f"(asked for {self.spec.parallel_trials}; one took {peak >> 20:,} MiB of memory)"
            )
            self._run_some(self.left, places)
        if self._failed is not None:
            raise self._failed

    def _folders(self, trials: list[FrozenTrial]) -> list[Path]:
        return [self.trial_folder(trial.number) for trial in trials]

    def _run_some(self, count: int, places: list[Slot]) -> None:
        left = iter(range(count))
        errors: list[BaseException] = []

        def work(slot: Slot) -> None:
            try:
                while not self._over():
                    with self._lock:
                        if next(left, None) is None:
                            return
                        trial = self._next()
                    self._run_one(trial, slot)
            except BaseException as error:
                errors.append(error)
                self.stop()

        threads = [threading.Thread(target=work, args=(slot,)) for slot in places]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _next(self) -> optuna.Trial:
        """One that ran when an earlier start was killed, in its own folder; else a new one."""
        if not self._interrupted:
            return self.study.ask()
        frozen = self._interrupted.pop(0)
        self.say(f"trial {frozen.number}: taken up again")
        return optuna.trial.Trial(self.study, frozen._trial_id)

    def _over(self) -> bool:
        if self.stopping.is_set() or self._reached.is_set():
            return True
        with self._lock:
            reason = self._goal_reached()
            if reason and not self._reached.is_set():
                self.say(f"search: {reason}; nothing more is started")
                self._reached.set()
        return bool(reason)

    def _goal_reached(self) -> str:
        spec, ranked = self.spec, self.ranked
        seconds = time.monotonic() - self._started
        if spec.max_seconds is not None and seconds > spec.max_seconds:
            return f"the time of {spec.max_seconds:.0f} s is up"
        if not ranked:
            return ""
        best = ranked[0]
        sign = 1 if spec.objective.maximize else -1
        if spec.target is not None and self._goodness(best) >= sign * spec.target:
            return f"trial {best.number} has reached {spec.target:g}"
        if spec.not_improving is not None and self._since_better() >= spec.not_improving:
            return f"no trial of the last {spec.not_improving} was better by {IMPROVEMENT:.0%}"
        return ""

    def _since_better(self) -> int:
        """Trials since the best so far was beaten by IMPROVEMENT."""
        best, since = -math.inf, 0
        for trial in self.own(*DONE):
            good = self._goodness(trial)
            if good > (best + IMPROVEMENT * abs(best) if math.isfinite(best) else best):
                best, since = good, 0
            else:
                since += 1
        return since

    # one trial

    def _run_one(self, trial: optuna.Trial, slot: Slot) -> None:
        values = sampling.suggest(trial, self.spec)
        chosen = ", ".join(f"{name}={value}" for name, value in values.items())
        self.say(f"trial {trial.number}: {chosen}")
        folder = self.trial_folder(trial.number)
        job = Trial(folder, self.base, f"{self.base.name}-{folder.name}")
        job.prepare({**self.spec.fixed, **values}, self.spec.objective.name)
        started = time.monotonic()
        outcome = self.run_alone(job, slot, lambda at, value: self._report(trial, at, value))
        if outcome.state != "stopped":  # else the next start takes it up again
            self._tell(trial, job, outcome, time.monotonic() - started)

    def run_alone(
        self,
        job: Trial,
        slot: Slot | None = None,
        seen: Callable[[int, float], bool] = lambda epoch, value: True,
    ) -> Outcome:
        """A job that `stop` reaches, with the cache that all share."""
        with self._lock:
            if self.stopping.is_set():
                job.stop("stopped")
            self._running.add(job)
        try:
            environment = {WARM_POOL: str(self.folder / CACHE), **(slot or {})}
            return job.run(self.spec.objective.regex, environment, seen)
        finally:
            with self._lock:
                self._running.discard(job)

    def _report(self, trial: optuna.Trial, epoch: int, value: float) -> bool:
        self.say(f"trial {trial.number}: epoch {epoch}: {self.spec.objective.name}={value:.6g}")
        trial.report(value, epoch)
        return not trial.should_prune()

    def _tell(self, trial: optuna.Trial, job: Trial, outcome: Outcome, seconds: float) -> None:
        trial.set_user_attr("seconds", round(seconds, 1))
        trial.set_user_attr("peak_bytes", outcome.peak_bytes)
        if outcome.reason:
            trial.set_user_attr("reason", outcome.reason)
        states = {
            "complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL,
        }  # fmt: skip
        with self._lock:
            told = outcome.value if outcome.state == "complete" else None
            self.study.tell(trial, told, state=states[outcome.state])
            ranked = self.ranked
            self.keep.after(job.folder, self._folders(ranked))
            self._told(self.study)
        value = "" if outcome.value is None else f" {self.spec.objective.name}={outcome.value:.6g}"
        reason = f" ({outcome.reason})" if outcome.reason else ""
        best = f"; best so far trial {ranked[0].number}, {ranked[0].value:.6g}" if ranked else ""
        self.say(f"trial {trial.number}: {outcome.state}{value} after {seconds:.0f} s{reason}; "
                 f"{len(self.own(*DONE))} of {self.spec.max_trials} done{best}")  # fmt: skip
        if (
            outcome.state == "failed"
            and not ranked
            and outcome.reason.startswith((*ALIKE, NO_VALUE))
        ):
            self._failed = failure.read(f"trial {trial.number}", outcome.reason)
            self.stop()

    def stop(self) -> None:
        """Nothing more is started; what runs leaves a checkpoint."""
        self.stopping.set()
        with self._lock:
            running = [*self._running]
        for job in running:
            job.stop("stopped")
