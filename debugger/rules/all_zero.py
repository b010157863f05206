"""Tensors that hold nothing but zeros.

Documented: the share of zeros in a tensor >= threshold (with `>` the default of 100 could never
fire); a collection or a regex must be given. Decided here: with neither, `gradients` are looked
at. Biases of normalisations, and last gammas in some networks, are all zero before the first
update, and stay so where they are frozen: a weight or bias fires only if it has a gradient and is
still zero at a later step of training than its first. `strict=true` takes every tensor as it is.
"""

import numpy as np

from debugger.rules.base import Finding, TensorRule, several
from debugger.rules.parameters import Parameter, flag, names, number, pattern, perhaps
from debugger.rules.weights import is_parameter


class AllZero(TensorRule):
    name = "all_zero"
    summary = "at least `threshold` % of a tensor are zeros"
    parameters = {
        "collection_names": Parameter(None, perhaps(names), "Collections that are looked at."),
        "tensor_regex": Parameter(None, perhaps(pattern), "Names that are looked at."),
        "threshold": Parameter(100.0, number, "Per cent of zeros."),
        "strict": Parameter(False, flag, "Weights and biases fire at once.", ours=True),
    }
    saves = ("gradients",)

    def begin(self) -> None:
        self._before: set[str] = set()

    def look(self, step: int) -> None:
        collections = self.chosen.collection_names or ()
        if not collections and not self.chosen.tensor_regex:
            collections = self.saves
        for name in self.matching(step, collections, self.chosen.tensor_regex):
            share = self._share(name, step)
            if share is None:
                continue
            self.seen(step)
            first = name not in self._before
            self._before.add(name)
            if share < self.chosen.threshold:
                continue
            lenient = not self.chosen.strict and is_parameter(self, name)
            if lenient and (first or self.trained(name) is not True):
                continue
            self.fire(step, name, share, f"{share:.4g} % zeros at step {step}")

    def _share(self, name: str, step: int) -> float | None:
        value = self.value(name, step)
        if value is not None:
            return 100 * float(np.mean(value == 0)) if value.size else None
        largest = self.reduced(name, step, "max", absolute=True)
        return None if largest is None else (100.0 if largest == 0 else 0.0)

    def finding(self) -> Finding:
        worst = self.worst[0]
        return Finding(
            f"{several(self.worst)}: {worst} has {self.fired[worst].words}",
            "a gradient of zeros means that the layer is cut off from the loss, or that all of its "
            "units are dead: run the rule dead_relu, and start from trained weights "
            "(pretrained=true)",
            details={"tensors": len(self.fired)},
        )
