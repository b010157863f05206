"""The first layer that answered with NaN or infinity.

Ours. Looks at everything that was saved, and at the first step with a value that is no number
names the first guilty tensor in forward order: weights as the network has them, then inputs and
outputs as it ran, then the loss, then gradients; smdebug writes them in that order. A job that
ended with `non-finite-loss` has said itself which layer it was, and its reason counts, too.
Infinite gradients alone are what a float16 loss scaler makes and skips; they do not count.
"""

import re

import numpy as np

from debugger.rules.base import GRADIENT, NETWORK_INPUT, Finding, TensorRule, lower_rate
from debugger.rules.weights import is_parameter
from debugger.verdict import Sureness


class NanOrInf(TensorRule):
    name = "nan_or_inf"
    summary = "a layer answers with NaN or infinity; names the first"
    saves = ("losses", "weights")

    def begin(self) -> None:
        self._order: dict[str, int] = {}
        self.guilty = ""

    def look(self, step: int) -> None:
        found: dict[str, str] = {}
        for name in self.matching(step):
            words = self._words(name, step)
            if words is None:
                continue
            self.seen(step)
            if words:
                found[name] = words
        if not found:
            return
        in_order = sorted(found, key=self._place)
        real = [name for name in in_order if not name.startswith(GRADIENT)]
        if not real and not any("NaN" in found[name] for name in in_order):
            return
        first = (real or in_order)[0]
        if not self.guilty:
            self.guilty = first
        for at, name in enumerate(real or in_order):
            self.fire(step, name, -self._place(name) - at / 1e6, f"{found[name]} at step {step}")

    def _words(self, name: str, step: int) -> str | None:
        """Empty where all is finite."""
        value = self.value(name, step)
        if value is None:
            mean = self.reduced(name, step, "mean")
            if mean is None:
                return None
            return "" if np.isfinite(mean) else ("NaN" if np.isnan(mean) else "infinity")
        if value.dtype.kind != "f":
            return ""
        if np.isfinite(value).all():
            return ""
        nan = int(np.isnan(value).sum())
        infinite = int(np.isinf(value).sum())
        parts = [f"{nan} NaN"] * bool(nan) + [f"{infinite} infinite"] * bool(infinite)
        return f"{' and '.join(parts)} of {value.size} values"

    def _place(self, name: str) -> int:
        """In forward order; names are learned as they come."""
        if len(self._order) != len(self._names()):
            self._order = {each: at for at, each in enumerate(self._names())}
        return self._order.get(name, len(self._order))

    def conclude(self) -> None:
        if not self.fired and self.evidence.failure.startswith("non-finite-loss"):
            self.seen(0)
            self.fire(0, "loss", 1, self.evidence.failure.splitlines()[0])

    def finding(self) -> Finding:
        if not self.guilty:
            reason = f"the job ended with {self.fired['loss'].words}"
            return Finding(reason, self._advice(""), sureness=Sureness.CERTAIN)
        known = self.fired[self.guilty]
        kind = "is not finite"
        if re.search(NETWORK_INPUT, self.guilty):
            kind = "is not finite: the photos are at fault, not the network"
        elif is_parameter(self, self.guilty):
            kind = "is not finite: the update before has ruined it"
        others = len(self.fired) - 1
        return Finding(
            f"{self.guilty} is the first that {kind}: {known.words}"
            + (f"; {others} more after it" if others else ""),
            self._advice(self.guilty),
            "every step after the first such value is lost",
            Sureness.CERTAIN,
            {"guilty": self.guilty, "first_step": self.steps[0], "tensors": len(self.fired)},
        )

    def _advice(self, guilty: str) -> str:
        if guilty and re.search(NETWORK_INPUT, guilty):
            return "look at the photos and at the code that reads them"
        return f"set {lower_rate(self.evidence)}, warmup_epochs=1 and precision=float32"

    def healthy(self) -> str:
        return f"all values of {len(self._names())} tensors are finite in {self.looked_at} steps"
