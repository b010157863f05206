"""Gradients that have become so small that nothing is learned from them.

Documented: a tensor of the collection `gradients` with mean(abs(g)) < threshold; one suffices.
Decided here: a bias whose own layer's weight has a healthy gradient does not count, because a bias
in front of a normalisation has a gradient near zero by construction (`skip_biases=false` is the
documented reading). A saved reduction `abs_mean` does as well as the values. Frozen layers have no
gradients, so they are not looked at. With a loss scaler (float16) gradients are saved scaled.
"""

from debugger.rules.base import Finding, TensorRule, lower_rate, several
from debugger.rules.parameters import Parameter, flag, number, pattern, perhaps
from debugger.verdict import Sureness


class VanishingGradient(TensorRule):
    name = "vanishing_gradient"
    summary = "the mean size of a gradient is below `threshold`"
    parameters = {
        "threshold": Parameter(1e-7, number, "Mean of abs(gradient) that is too small."),
        "tensor_regex": Parameter(None, perhaps(pattern), "Only these gradients.", ours=True),
        "skip_biases": Parameter(
            True, flag, "Leave out biases whose layer's weight has a gradient.", ours=True
        ),
    }
    saves = ("gradients",)

    def look(self, step: int) -> None:
        sizes = {}
        pattern = self.chosen.tensor_regex
        names = self.matching(step, () if pattern else self.saves, pattern)
        for name in names:
            size = self.reduced(name, step, "mean", absolute=True)
            if size is not None and size == size:  # NaN has no size
                sizes[name] = size
                self.seen(step)
        for name, size in sizes.items():
            if size >= self.chosen.threshold:
                continue
            weight = sizes.get(name.removesuffix("bias") + "weight", 0.0)
            skips = self.chosen.skip_biases and name.endswith("bias")
            if skips and weight >= self.chosen.threshold:
                continue
            self.fire(step, name, -size, f"{size:.3g} at step {step}")

    def finding(self) -> Finding:
        worst = self.worst[0]
        known = self.fired[worst]
        return Finding(
            f"the gradient of {several(self.worst)} is smaller than {self.chosen.threshold:g}: "
            f"{worst} has a mean size of {known.words}, in {self.times} of {self.looked_at} steps",
            "start from trained weights (pretrained=true) or take a network with normalisation "
            f"and shortcuts (network=resnet50); not {lower_rate(self.evidence)}: too small an "
            "update is not cured by a smaller one",
            "layers whose gradient vanishes keep their first weights; until then they are "
            "as good as frozen",
            Sureness.LIKELY,
            {"smallest": -known.worst, "tensors": len(self.fired)},
        )

    def healthy(self) -> str:
        return (
            f"no gradient had a mean size below {self.chosen.threshold:g} in {self.looked_at} steps"
        )
