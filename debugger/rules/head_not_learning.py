"""A last layer that stays what it was.

Ours. The head is the last weight of the network. Fires when its values do not change over
`num_steps` saved steps of training (relative change below `smallest`), when it has no gradient
while others do, or, from metrics.jsonl, when after `epochs` epochs the training loss is still
within `near` of ln C and the accuracy that of chance. A frozen backbone is as it should be and not
looked at.
"""

import numpy as np

from debugger.evidence import chance_loss
from debugger.rules.base import EVAL, GRADIENT, Array, Finding, TensorRule
from debugger.rules.parameters import Parameter, number, whole
from debugger.rules.weights import mean_size
from debugger.verdict import Sureness


class HeadNotLearning(TensorRule):
    name = "head_not_learning"
    summary = "the last layer's weights do not change, or its answers stay at chance"
    parameters = {
        "num_steps": Parameter(3, whole, "Saved steps without a change.", ours=True),
        "smallest": Parameter(1e-6, number, "Relative change that is none.", ours=True),
        "epochs": Parameter(3, whole, "Epochs at chance.", ours=True),
        "near": Parameter(0.02, number, "Of ln C.", ours=True),
    }
    saves = ("weights", "gradients")

    def begin(self) -> None:
        self._head: str | None = None
        self._before: Array | None = None
        self._still = 0
        self._compared = 0
        self._epochs = 0

    def look(self, step: int) -> None:
        if self.mode(step) == EVAL:
            return
        saved = set(self.matching(step, ("weights",)))
        if self._head is None and saved:
            # in the order in which the network has them: smdebug writes them so
            ordered = [name for name in self._names() if name in saved]
            self._head = ordered[-1]
        if self._head is None or self._head not in saved:
            return
        value = self.value(self._head, step)
        if value is None or not np.isfinite(value).all():
            return
        self.seen(step)
        before, self._before = self._before, value
        if before is None or before.shape != value.shape:
            return
        self._compared += 1
        change = mean_size(value - before) / (mean_size(before) + 1e-12)
        self._still = self._still + 1 if change < self.chosen.smallest else 0
        if self._still >= self.chosen.num_steps:
            cut = "" if self.trained(self._head) is not False else ", and it has no gradient"
            words = f"does not change in {self._still} saved steps{cut}"
            self.fire(step, self._head, self._still, words)

    def conclude(self) -> None:
        classes = self.evidence.classes
        if not classes:
            return
        chance, at = chance_loss(classes), 0
        for row in self.evidence.metrics:
            loss, accuracy = row.get("train_loss"), row.get("validation_top1_accuracy")
            if not isinstance(loss, int | float):
                continue
            self._epochs += 1
            step = int(row.get("step", row.get("epoch", 0)))
            self.seen(step)
            poor = not isinstance(accuracy, int | float) or accuracy <= 1.5 / classes
            at = at + 1 if abs(loss - chance) <= self.chosen.near * chance and poor else 0
            if at >= self.chosen.epochs:
                words = f"a loss of {loss:.4g} after {at} epochs is that of chance ({chance:.4g})"
                self.fire(step, "metrics", at, words)

    def finding(self) -> Finding:
        worst = self.worst[0]
        rate = self.evidence.number("learning_rate")
        higher = f"learning_rate={max(0.001, rate * 10):.3g}" if rate else "learning_rate=0.001"
        cut = any(name.startswith(GRADIENT) for name in self._names()) and (
            self._head is not None and self.trained(self._head) is False
        )
        advice = (
            "let the last layer require gradients (fine_tune=head trains it) and give its weights "
            "to the optimizer"
            if cut
            else f"set {higher}, and look whether the optimizer has the last layer's weights"
        )
        return Finding(
            f"{worst} {self.fired[worst].words}" if worst != "metrics" else self.fired[worst].words,
            advice,
            "nothing can be learned while the last layer stands still",
            Sureness.CERTAIN if cut else Sureness.LIKELY,
            {"head": self._head},
        )

    def unready(self) -> str:
        if self._compared >= self.chosen.num_steps or self._epochs >= self.chosen.epochs:
            return ""
        if self._epochs:
            return f"{self._epochs} epochs were seen, and {self.chosen.epochs} are needed"
        return f"the last layer was saved at {self._compared + 1} steps of training only"

    def healthy(self) -> str:
        if self._head is None:
            return f"the loss or the accuracy of {self._epochs} epochs leaves chance behind"
        return f"{self._head} changes from step to step"
