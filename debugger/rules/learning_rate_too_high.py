"""Updates that throw the network about instead of improving it.

Ours. An answer that gives every one of C classes the same probability has a loss of ln C; a
training loss above `factor` times that, after the first steps, is worse than knowing nothing, and
nothing but too large an update makes it so. C is the number of labels of `model.json`, else the
width of the saved logits; where neither is known, the first loss stands for ln C. Compared is the
mean of the last `num_steps` losses of training, or of an epoch in metrics.jsonl. With accuracy
beside it the finding says how far it is from chance.
"""

import math

import numpy as np

from debugger.evidence import chance_loss
from debugger.rules import answers, losses
from debugger.rules.base import EVAL, LOGITS, Finding, TensorRule
from debugger.rules.parameters import Parameter, number, whole
from debugger.verdict import Sureness

GOOD = {"adam": 0.001, "adamw": 0.001, "sgd": 0.01}
"""Learning rates at which a new head learns with each optimizer."""


class LearningRateTooHigh(TensorRule):
    name = "learning_rate_too_high"
    summary = "the training loss is worse than that of an answer by chance"
    parameters = {
        "factor": Parameter(1.5, number, "Times the loss of chance.", ours=True),
        "num_steps": Parameter(5, whole, "Losses whose mean is taken.", ours=True),
    }
    saves = ("losses",)

    def begin(self) -> None:
        self._losses: list[float] = []
        self._first: float | None = None
        self._width = 0
        self._chance: float | None = None
        self._judged = self._nan = 0

    def look(self, step: int) -> None:
        if self.mode(step) == EVAL:
            return
        if not self._width:
            logits = answers.first(self, step, LOGITS)
            self._width = logits.shape[1] if logits is not None and logits.ndim > 1 else 0
        for _, loss in losses.read(self, step, ("losses",), None):
            if loss != loss:
                self._nan += 1
                return
            if self._first is None:
                self._first = loss
            self._losses = [*self._losses, loss][-self.chosen.num_steps :]
            if len(self._losses) == self.chosen.num_steps:
                self._judge(step, float(np.mean(self._losses)), "training loss")
            return

    def conclude(self) -> None:
        for row in self.evidence.metrics:
            loss = row.get("train_loss")
            if isinstance(loss, int | float) and loss == loss and self.evidence.classes:
                step = int(row.get("step", row.get("epoch", 0)))
                self.seen(step)
                self._judge(step, float(loss), f"training loss of epoch {row.get('epoch', '?')}")

    def _judge(self, step: int, loss: float, what: str) -> None:
        self._judged += 1
        classes = self.evidence.classes or self._width
        self._chance = chance_loss(classes) if classes > 1 else self._first
        if self._chance and loss > self.chosen.factor * self._chance:
            words = f"{loss:.4g}, {loss / self._chance:.1f} times the {self._chance:.4g} of chance"
            self.fire(step, what, loss / self._chance, words)

    def finding(self) -> Finding:
        worst = self.worst[0]
        rate = self.evidence.number("learning_rate")
        good = GOOD.get(self.evidence.word("optimizer"), 0.001)
        lower = min(good, rate / 10) if rate else good
        times = self.fired[worst].worst
        classes = self.evidence.classes or self._width
        accuracies = self.evidence.curve("validation_top1_accuracy")
        accuracy = (
            f"; validation accuracy is {accuracies[-1]:.3f}, by chance {1 / classes:.3f}"
            if accuracies and classes
            else ""
        )
        given = f"learning_rate={rate:g}" if rate else "the learning rate"
        return Finding(
            f"{given} is too high: the {worst} is {self.fired[worst].words}"
            f"{f' of {classes} classes' if classes else ''}{accuracy}",
            f"set learning_rate={lower:g} and warmup_epochs=0.5; learning_rate=auto looks for one",
            f"a loss below ln {classes} = {math.log(classes):.2f} instead of "
            f"{times * math.log(classes):.3g}"
            if classes > 1
            else "",
            Sureness.CERTAIN if times > 3 else Sureness.LIKELY,
            {"times_chance": times, "chance_loss": self._chance, "classes": classes or None},
        )

    def unready(self) -> str:
        if self._judged:
            return ""
        if self._nan:
            return f"{self._nan} training losses are NaN: see nan_or_inf"
        return f"fewer than {self.chosen.num_steps} losses of training were saved"

    def healthy(self) -> str:
        nan = f"; {self._nan} losses are NaN: see nan_or_inf" if self._nan else ""
        return f"the training loss stays below {self.chosen.factor:g} times {self._chance:.4g}{nan}"

    def missing(self) -> str:
        return f"no training losses were saved, and there is no metrics.jsonl; {super().missing()}"
