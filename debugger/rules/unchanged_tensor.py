"""Tensors that stay as they are.

Documented: numpy.allclose holds over the last `num_steps` steps at which the tensor is there; a
collection or a regex must be given. From the platform's published tests: steps 0, 1 and 2 equal
and num_steps=3 fire at step 2; a tensor seen once never fires. Whether all are compared with the
newest or each with the next is not stated: the newest, here (the same for a tensor that stands
still). Decided: with no filter, `losses` are looked at; a tensor is compared within one mode;
weights and biases only between steps of training, and frozen ones, which have no gradient, never.
The mini-batches of one evaluation hold different photos and show nothing of a job that stands
still: where training was saved, too, only the first of each evaluation is compared.
"""

from collections import deque

import numpy as np

from debugger.rules.base import EVAL, Array, Finding, TensorRule, several
from debugger.rules.parameters import Parameter, flag, names, number, pattern, perhaps, whole
from debugger.rules.weights import is_parameter


class UnchangedTensor(TensorRule):
    name = "unchanged_tensor"
    summary = "a tensor is the same in the last `num_steps` steps"
    parameters = {
        "collection_names": Parameter(None, perhaps(names), "Collections that are looked at."),
        "tensor_regex": Parameter(None, perhaps(pattern), "Names that are looked at."),
        "num_steps": Parameter(3, whole, "Steps that must agree."),
        "rtol": Parameter(1e-5, number, "Relative tolerance, numpy's."),
        "atol": Parameter(1e-8, number, "Absolute tolerance, numpy's."),
        "equal_nan": Parameter(False, flag, "NaN equals NaN."),
    }
    saves = ("losses",)

    def begin(self) -> None:
        self._recent: dict[tuple[str, str], deque[int]] = {}
        self._compared = False
        self._modes: list[str] = []
        """Of the newest step, and whatever others there were."""

    def look(self, step: int) -> None:
        collections = self.chosen.collection_names or ()
        if not collections and not self.chosen.tensor_regex:
            collections = self.saves
        mode = self.mode(step)
        within = mode == EVAL and len(self._modes) > 1 and self._modes[-1] == EVAL
        self._modes = [each for each in self._modes if each != mode] + [mode]
        if within:
            return
        for name in self.matching(step, collections, self.chosen.tensor_regex):
            if is_parameter(self, name) and (mode == EVAL or self.trained(name) is False):
                continue
            value = self.value(name, step)
            if value is None:
                continue
            self.seen(step)
            length = max(2, self.chosen.num_steps)
            recent = self._recent.setdefault((mode, name), deque(maxlen=length))
            recent.append(step)
            if len(recent) < length:
                continue
            self._compared = True
            if all(self._same(name, each, value) for each in list(recent)[:-1]):
                self.fire(step, name, 1, f"the same at steps {', '.join(map(str, recent))}")

    def _same(self, name: str, step: int, newest: Array) -> bool:
        before, chosen = self.value(name, step), self.chosen
        if before is None or before.shape != newest.shape:
            return False
        return bool(np.allclose(
            newest, before, rtol=chosen.rtol, atol=chosen.atol, equal_nan=chosen.equal_nan
        ))  # fmt: skip

    def finding(self) -> Finding:
        worst = max(self.fired, key=lambda name: self.fired[name].times)
        rate = self.evidence.number("learning_rate")
        higher = f"learning_rate={rate * 10:.3g}" if rate else "a learning_rate 10 times it"
        return Finding(
            f"{several(self.worst)}: {worst} is {self.fired[worst].words} within "
            f"rtol={self.chosen.rtol:g}, {self.fired[worst].times} times",
            f"set {higher}; look whether what should be trained is frozen (fine_tune=all trains "
            "all weights)",
            "steps that change nothing are paid for and bring nothing",
            details={"tensors": len(self.fired)},
        )

    def unready(self) -> str:
        if self._compared:
            return ""
        return (
            f"no tensor was saved at {self.chosen.num_steps} steps of one mode; set "
            "debug_save_interval lower"
        )
