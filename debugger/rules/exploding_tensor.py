"""Tensors that hold values that are no numbers, or infinite.

Documented: any value is NaN or infinite (`only_nan`: NaN only); without a filter, all tensors. The
documentation restricts `tensor_regex` to "scalar-valued" tensors; its own example takes
`.*gradient`, so tensors of any shape are meant and looked at here. With float16 a loss scaler
tries factors that are too large: gradients of its first steps are infinite, and those updates are
skipped. Where nothing but gradients is infinite, and nothing is NaN, the finding says so and is
only `possible`.
"""

import numpy as np

from debugger.rules.base import GRADIENT, Finding, TensorRule, lower_rate, several
from debugger.rules.parameters import Parameter, flag, names, pattern, perhaps
from debugger.verdict import Sureness


class ExplodingTensor(TensorRule):
    name = "exploding_tensor"
    summary = "a tensor holds NaN or infinity"
    parameters = {
        "collection_names": Parameter(None, perhaps(names), "Collections that are looked at."),
        "tensor_regex": Parameter(None, perhaps(pattern), "Names that are looked at."),
        "only_nan": Parameter(False, flag, "Infinity is no issue."),
    }
    saves = ("losses", "gradients")
    seen_nan = False

    def look(self, step: int) -> None:
        collections = self.chosen.collection_names or ()
        for name in self.matching(step, collections, self.chosen.tensor_regex):
            counted = self._count(name, step)
            if counted is None:
                continue
            self.seen(step)
            nan, infinite = counted
            if nan or (infinite and not self.chosen.only_nan):
                self.seen_nan = self.seen_nan or nan > 0
                words = f"{nan} NaN and {infinite} infinite values at step {step}"
                self.fire(step, name, nan + infinite, words)

    def _count(self, name: str, step: int) -> tuple[int, int] | None:
        value = self.value(name, step)
        if value is None:  # reductions of it may tell
            reduced = [self.reduced(name, step, each) for each in ("mean", "max", "min", "l2")]
            known = [each for each in reduced if each is not None]
            if not known:
                return None
            return sum(map(np.isnan, known)), sum(map(np.isinf, known))
        if value.dtype.kind not in "fc":
            return 0, 0
        return int(np.isnan(value).sum()), int(np.isinf(value).sum())

    def finding(self) -> Finding:
        worst = self.worst[0]
        scaled = all(name.startswith(GRADIENT) for name in self.fired) and not self.seen_nan
        scaler = (
            "; only gradients are infinite, as in steps that a float16 loss scaler skips"
            if scaled
            else ""
        )
        return Finding(
            f"{several(self.worst)}: {worst} has {self.fired[worst].words}{scaler}",
            "nothing, if precision=float16; else set precision=float32 and "
            f"{lower_rate(self.evidence)}"
            if scaled
            else f"set {lower_rate(self.evidence)}, warmup_epochs=1 and precision=float32",
            "" if scaled else "after one such value every later step is lost",
            Sureness.POSSIBLE if scaled else Sureness.CERTAIN,
            {"tensors": len(self.fired), "first_step": self.steps[0]},
        )
