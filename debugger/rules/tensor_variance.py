"""Tensors whose values are spread too far, or hardly at all.

Documented: variance > max_threshold or < min_threshold; a bound of None is off; a collection or a
regex must be given. Decided here: with no bound there is nothing to judge, and with no filter
`weights` and `gradients` are looked at. A saved reduction `variance` does as well as the values.
"""

from debugger.rules.base import Finding, TensorRule, lower_rate, several
from debugger.rules.parameters import Parameter, names, number, pattern, perhaps


class TensorVariance(TensorRule):
    name = "tensor_variance"
    summary = "a tensor's variance is outside the given bounds"
    parameters = {
        "collection_names": Parameter(None, perhaps(names), "Collections that are looked at."),
        "tensor_regex": Parameter(None, perhaps(pattern), "Names that are looked at."),
        "max_threshold": Parameter(None, perhaps(number), "A variance above it is too large."),
        "min_threshold": Parameter(None, perhaps(number), "A variance below it is too small."),
    }
    saves = ("weights", "gradients")

    def look(self, step: int) -> None:
        low, high = self.chosen.min_threshold, self.chosen.max_threshold
        if low is None and high is None:
            return
        collections = self.chosen.collection_names or ()
        if not collections and not self.chosen.tensor_regex:
            collections = self.saves
        for name in self.matching(step, collections, self.chosen.tensor_regex):
            variance = self.reduced(name, step, "variance")
            if variance is None or variance != variance:  # NaN is within no bounds and outside none
                continue
            self.seen(step)
            if high is not None and variance > high:
                words = f"{variance:.4g} > {high:g} at step {step}"
                self.fire(step, name, variance / (high or 1e-30), words)
            elif low is not None and variance < low:
                words = f"{variance:.4g} < {low:g} at step {step}"
                self.fire(step, name, low / (variance or 1e-30), words)

    def finding(self) -> Finding:
        worst = self.worst[0]
        return Finding(
            f"{several(self.worst)}: the variance of {worst} is {self.fired[worst].words}",
            f"of gradients: set {lower_rate(self.evidence)} and warmup_epochs=1; of weights: start "
            "from trained ones (pretrained=true)",
            details={"tensors": len(self.fired)},
        )

    def missing(self) -> str:
        if self.chosen.min_threshold is None and self.chosen.max_threshold is None:
            return "no bound was given: set max_threshold or min_threshold"
        return super().missing()
