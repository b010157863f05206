"""Weights that begin where nothing can be learned.

Documented: within the first `steps` steps three checks: the ratio of the largest to the smallest
variance of activation inputs across layers > threshold; p95 - p5 of a gradient <
distribution_range; the loss does not decrease for `patience` steps. (The page's table says
variance of weights, its prose and the parameter's name say activation inputs.) How the three go
together is not spelled out. Healthy deep networks have gradients narrower than 0.001, so that any
one of them alone fires on health. Decided here (`reading=symptom`): the loss does not decrease,
and one of the other two says why. `reading=any` takes each alone. `steps` counts saved steps of
training. torchvision's in-place ReLU overwrites its input, whose variance is then that of its
output. Trained weights (pretrained) are no initialisation: there the rule is not applicable.
"""

import numpy as np

from debugger.rules import losses
from debugger.rules.base import EVAL, Finding, TensorRule, several
from debugger.rules.parameters import Parameter, number, one_of, pattern, whole
from debugger.verdict import Sureness

INPUTS = r".*relu_input|.*ReLU_input"


class PoorWeightInitialization(TensorRule):
    name = "poor_weight_initialization"
    summary = "the first steps show unequal layers, narrow gradients and a loss that stays"
    parameters = {
        "activation_inputs_regex": Parameter(INPUTS, pattern, "Inputs of activations."),
        "threshold": Parameter(10.0, number, "Largest variance by smallest."),
        "distribution_range": Parameter(0.001, number, "Of a gradient's 5th to 95th percentile."),
        "patience": Parameter(5, whole, "Steps without a lower loss."),
        "steps": Parameter(10, whole, "Steps that are looked at."),
        "diff_percent": Parameter(0.1, number, "A smaller fall is none.", ours=True),
        "fall": Parameter(0.1, number, "Of the first loss; once so low it learns.", ours=True),
        "reading": Parameter("symptom", one_of("symptom", "any"), "See above.", ours=True),
    }
    saves = ("losses", "gradients", "relu_input")
    cheap = False

    def begin(self) -> None:
        self._steps = 0
        self._first: float | None = None
        self._lowest = np.inf
        self._since = 0
        self._stuck = False
        self._losses = 0
        self._others = False
        self._causes: dict[str, tuple[int, float, str]] = {}

    @property
    def _pretrained(self) -> bool:
        return self.evidence.word("pretrained") in ("true", "1", "yes")

    def look(self, step: int) -> None:
        if self.mode(step) == EVAL or self._steps >= self.chosen.steps or self._pretrained:
            return
        self._look_at_inputs(step)
        self._look_at_gradients(step)
        self._look_at_loss(step)
        if self._looked == step:
            self._steps += 1
        if self._stuck or self.chosen.reading == "any":
            for name, (at, badness, words) in self._causes.items():
                self.fire(at, name, badness, words)
            self._causes = {}

    def _look_at_inputs(self, step: int) -> None:
        variances = {}
        given = self.chosen.activation_inputs_regex
        for name in self.matching(step, ("relu_input",) if given == INPUTS else (), given):
            variance = self.reduced(name, step, "variance")
            if variance is not None and variance == variance:
                self.seen(step)
                variances[name] = variance
        if len(variances) < 2:
            return
        self._others = True
        low, high = (
            min(variances, key=variances.__getitem__),
            max(variances, key=variances.__getitem__),
        )
        ratio = variances[high] / max(variances[low], 1e-30)
        if ratio > self.chosen.threshold:
            words = f"its variance is {ratio:.3g} times that of {low}"
            self._causes[high] = (step, ratio, words)

    def _look_at_gradients(self, step: int) -> None:
        for name in self.matching(step, ("gradients",)):
            value = self.value(name, step)
            if value is None or value.size < 20 or not np.isfinite(value).all():
                continue
            self.seen(step)
            self._others = True
            low, high = np.percentile(value, [5, 95])
            if high - low < self.chosen.distribution_range:
                words = f"9 in 10 of its values lie within {high - low:.3g}"
                self._causes[name] = (step, float(-(high - low)), words)

    def _look_at_loss(self, step: int) -> None:
        for _, loss in losses.read(self, step, ("losses",), None):
            if not np.isfinite(loss):
                return
            self._losses += 1
            fell = loss < self._lowest * (1 - self.chosen.diff_percent / 100)
            self._since = 0 if fell else self._since + 1
            self._lowest = loss if fell else self._lowest
            self._first = loss if self._first is None else self._first
            if self._since >= self.chosen.patience:
                # a loss that fell and then varies has found something to learn from
                self._stuck = self._lowest > (1 - self.chosen.fall) * self._first
                if self.chosen.reading == "any":
                    words = f"no loss below {self._lowest:.4g} for {self._since} steps"
                    self._causes["loss"] = (step, self._since, words)
            return

    def finding(self) -> Finding:
        worst = self.worst[0]
        stuck = f"the loss stays above {self._lowest:.4g}, and " if self._stuck else ""
        return Finding(
            f"{stuck}of {several(self.worst)}: {worst}: {self.fired[worst].words}, in the first "
            f"{self._steps} steps",
            "start from trained weights (pretrained=true), or take a network with normalisation "
            "(network=resnet18)",
            "trained weights learn from the first step",
            Sureness.LIKELY if self._stuck else Sureness.POSSIBLE,
            {"tensors": len(self.fired)},
        )

    def missing(self) -> str:
        if self._pretrained:
            return "training starts from trained weights, which are no initialisation"
        return super().missing()

    @property
    def _fell(self) -> bool:
        return self._first is not None and self._lowest < self._first

    def unready(self) -> str:
        if self.chosen.reading == "any" or self._fell:
            return ""
        if not self._losses:
            return "no loss of training was saved that is a number; set debug_collections=losses"
        if self._losses <= self.chosen.patience:
            return f"{self._losses} losses were saved, and {self.chosen.patience + 1} are needed"
        if not self._others:
            return "neither inputs of activations nor gradients were saved, which say why it stays"
        return ""

    def healthy(self) -> str:
        if self._fell:
            return f"the loss fell below its first value within {self._steps} steps"
        return f"in {self._steps} steps neither inputs of activations nor gradients are at fault"
