"""Two jobs that should have computed the same, and did not.

Documented, despite the name: fires when a tensor DIFFERS between this job and another, finished
one at the same step. `other_trials` is required: the folder of that job, or its prefix on S3. How
equal is equal is not stated; the tolerances are numpy.allclose's, for two machines round
differently (rtol=0 and atol=0 ask for the same bits). Without a filter all tensors are compared.
"""

import numpy as np

from debugger.reader import SMDebugError
from debugger.rules.base import Array, Finding, TensorRule, several
from debugger.rules.parameters import Parameter, names, number, pattern, perhaps
from debugger.verdict import Sureness


class SimilarAcrossRuns(TensorRule):
    name = "similar_across_runs"
    summary = "a tensor differs from that of another job at the same step"
    parameters = {
        "other_trials": Parameter(None, perhaps(names), "The other job's folder or S3 prefix."),
        "collection_names": Parameter(None, perhaps(names), "Collections that are looked at."),
        "tensor_regex": Parameter(None, perhaps(pattern), "Names that are looked at."),
        "rtol": Parameter(1e-5, number, "Relative tolerance, numpy's.", ours=True),
        "atol": Parameter(1e-8, number, "Absolute tolerance, numpy's.", ours=True),
    }
    saves = ("weights", "losses")

    def look(self, step: int) -> None:
        for other in self.other_trials or []:
            theirs = set(other.tensor_names(step=step))
            collections = self.chosen.collection_names or ()
            for name in self.matching(step, collections, self.chosen.tensor_regex):
                if name not in theirs:
                    continue
                mine = self.value(name, step)
                try:
                    its = np.asarray(other.tensor(name).value(step))
                except SMDebugError:
                    continue
                if mine is None:
                    continue
                self.seen(step)
                self._compare(step, name, mine, its)

    def _compare(self, step: int, name: str, mine: Array, its: Array) -> None:
        if mine.shape != its.shape:
            self.fire(step, name, np.inf, f"shapes {mine.shape} and {its.shape} at step {step}")
            return
        close = np.isclose(mine, its, self.chosen.rtol, self.chosen.atol, equal_nan=True)
        if not close.all():
            most = float(np.nanmax(np.abs(mine.astype(float) - its.astype(float))))
            self.fire(step, name, most, f"{int((~close).sum())} of {close.size} values differ, by "
                      f"up to {most:.3g}, at step {step}")  # fmt: skip

    def finding(self) -> Finding:
        worst = self.worst[0]
        return Finding(
            f"{several(self.worst)}: of {worst} {self.fired[worst].words}; the first difference is "
            f"at step {self.steps[0]}",
            "compare seed, batch_size, precision and the photos of both jobs",
            sureness=Sureness.CERTAIN,
            details={"first_step": self.steps[0], "tensors": len(self.fired)},
        )

    def missing(self) -> str:
        if not self.other_trials:
            return "no other job was named: set other_trials to its folder or S3 prefix"
        return "no tensor was saved by both jobs at the same step"
