"""A job that has stopped saving.

Documented: no new tensor for `threshold` seconds; `stop_training_on_fire` stops the one job whose
name begins with `training_job_name_prefix`. Decided here: the age of the newest file of the index,
while the job runs and `training_job_end.ts` is missing; over a job that has ended, the longest gap
between two saves. Stopping is the rule's `action`; `stop_training_on_fire=true` is the same as
`action=stop`, and the prefix is not looked at: the rule runs beside one job.
"""

import time
from pathlib import Path

from debugger.rules.base import Finding, TensorRule
from debugger.rules.parameters import Parameter, flag, number, text
from debugger.verdict import Sureness


class StalledTrainingRule(TensorRule):
    name = "stalled_training_rule"
    summary = "no tensor has been saved for `threshold` seconds"
    parameters = {
        "threshold": Parameter(1800.0, number, "Seconds without a new tensor."),
        "stop_training_on_fire": Parameter(False, flag, "The same as action=stop."),
        "training_job_name_prefix": Parameter("", text, "Accepted, and not looked at."),
    }
    saves = ("losses",)

    def begin(self) -> None:
        self._saved: float | None = None
        self._step = 0
        self.longest = 0.0

    def look(self, step: int) -> None:
        at = self._time(step)
        if at is None:
            return
        self.seen(step)
        if self._saved is not None:
            self._gap(step, at - self._saved, f"between steps {self._step} and {step}")
        self._saved, self._step = at, step

    def _time(self, step: int) -> float | None:
        """When the step's index was written."""
        folder = Path(self.base_trial.path) / "index" / f"{step // 1000:09d}"
        times = []
        for path in folder.glob(f"{step:012d}_*"):
            try:
                times.append(path.stat().st_mtime)
            except OSError:
                continue
        return max(times, default=None)

    def waiting(self, now: float | None = None) -> bool:
        """Beside a running job: whether it has been still for too long. Asked between two looks."""
        if self._saved is None or (Path(self.base_trial.path) / "training_job_end.ts").exists():
            return False
        before = self.times
        age = (time.time() if now is None else now) - self._saved
        self._gap(self._step + 1, age, f"since step {self._step}")
        return self.times > before

    def _gap(self, step: int, seconds: float, where: str) -> None:
        self.longest = max(self.longest, seconds)
        if seconds > self.chosen.threshold:
            self.fire(step, "index", seconds, f"{seconds:.0f} s {where}")

    def finding(self) -> Finding:
        return Finding(
            f"no tensor was saved for {self.fired['index'].words} "
            f"(limit {self.chosen.threshold:g} s)",
            "look at the stacks in the log (stall_seconds=600 writes them and ends a job that "
            "stands still); where a step may take so long, set threshold higher",
            "a job that stands still costs as much as one that works",
            Sureness.LIKELY,
            {"longest_seconds": self.longest},
        )

    def unready(self) -> str:
        return (
            "" if self.looked_at > 1 else "only one step was saved; set debug_save_interval lower"
        )

    def healthy(self) -> str:
        return f"at most {self.longest:.0f} s between two saves"

    def missing(self) -> str:
        return "nothing was saved; set debug_collections=losses"
