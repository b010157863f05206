"""Photos that are learned by heart.

Documented: (mean validation loss - mean train loss) / mean train loss > ratio_threshold for
`patience` steps from start_step on. Not stated: what the means are over, and what "for patience
steps" is. Decided here: an evaluation pass is one point; its mean is compared with that of the
training losses saved since the pass before (`window=all`: with all so far); `patience` passes must
exceed the threshold one after the other. Where both losses are tiny their ratio says nothing: the
difference must be at least `least_difference`. Augmentation, dropout and label smoothing make the
training loss the higher one; the rule is silent then, and says so. Single mini-batches are noisy:
a pass with fewer than `least_losses` training losses is not judged. Without any that is, the epochs
of metrics.jsonl are looked at, but not the first: every photo was new to the network then, so that
nothing can have been learned by heart.
"""

import numpy as np

from debugger.rules.base import Finding, TensorRule
from debugger.rules.losses import LossHistory
from debugger.rules.parameters import Parameter, number, one_of, pattern, perhaps, whole


class Overfit(TensorRule):
    name = "overfit"
    summary = "the validation loss is above the training loss by more than `ratio_threshold`"
    parameters = {
        "tensor_regex": Parameter(None, perhaps(pattern), "Losses that are looked at."),
        "start_step": Parameter(0, whole, "Global step from which on it is looked at."),
        "patience": Parameter(1, whole, "Evaluation passes in a row."),
        "ratio_threshold": Parameter(0.1, number, "Of the training loss."),
        "window": Parameter("pass", one_of("pass", "all"), "Training losses meant.", ours=True),
        "least_losses": Parameter(3, whole, "Training losses of a pass.", ours=True),
        "least_difference": Parameter(0.1, number, "Of the losses, absolute.", ours=True),
    }
    saves = ("losses",)

    def begin(self) -> None:
        self._losses = LossHistory(self, self.chosen.tensor_regex)
        self._row: dict[str, int] = {}
        self._pairs: list[tuple[float, float]] = []
        self._broken = self._few = False

    def look(self, step: int) -> None:
        for name in self._losses.look(step):
            self._pass(name, len(self._losses.of[name].passes) - 2)

    def conclude(self) -> None:
        for name, losses in self._losses.of.items():
            if losses.passes:
                self._pass(name, len(losses.passes) - 1)
        if self._pairs:
            return
        for row in self.evidence.metrics[1:]:
            train, validation = row.get("train_loss"), row.get("validation_loss")
            if isinstance(train, int | float) and isinstance(validation, int | float):
                step = int(row.get("step", row.get("epoch", 0)))
                self.seen(step)
                self._judge("validation_loss", step, float(train), float(validation))

    def _pass(self, name: str, number: int) -> None:
        losses = self._losses.of[name]
        made = losses.passes[number]
        known = made.training
        if self.chosen.window == "all":
            known = [loss for step, loss in losses.training if step < made.step]
        if len(known) < max(1, self.chosen.least_losses):
            self._few = True
            return
        train = float(np.mean(known))
        if made.step >= self.chosen.start_step:
            self._judge(name, made.step, train, made.validation)

    def _judge(self, name: str, step: int, train: float, validation: float) -> None:
        if train != train or validation != validation:
            self._broken = True
            return
        self._pairs.append((train, validation))
        ratio = (validation - train) / (abs(train) or 1e-30)
        far = validation - train >= self.chosen.least_difference
        self._row[name] = (
            self._row.get(name, 0) + 1 if ratio > self.chosen.ratio_threshold and far else 0
        )
        if self._row[name] >= max(1, self.chosen.patience):
            words = f"{validation:.4g} against {train:.4g} in training, {100 * ratio:.0f} % more"
            self.fire(step, name, ratio, words)

    def finding(self) -> Finding:
        worst = self.worst[0]
        best = min(range(len(self._pairs)), key=lambda at: self._pairs[at][1])
        return Finding(
            f"the validation loss is {self.fired[worst].words} (step {self.steps[0]} on); it was "
            f"lowest in evaluation {best + 1} of {len(self._pairs)}",
            "set augmentation=strong, weight_decay=0.05 or label_smoothing=0.1, and "
            "early_stopping_patience=3; more photos help most",
            f"the best of {len(self._pairs)} evaluations is {best + 1}: what follows it is lost "
            "time"
            if best + 1 < len(self._pairs)
            else "",
            details={"best_evaluation": best + 1, "evaluations": len(self._pairs)},
        )

    def unready(self) -> str:
        if self._pairs:
            return ""
        if self._broken:
            return "the losses are NaN: see nan_or_inf"
        if self._few:
            return (
                f"fewer than {self.chosen.least_losses} training losses were saved between two "
                "evaluations, and metrics.jsonl has no second epoch; set debug_save_interval lower"
            )
        return (
            "losses of training and of validation are not both there; set "
            "debug_collections=losses with an interval for both modes"
        )

    def healthy(self) -> str:
        train, validation = self._pairs[-1]
        higher = (
            "; training is made harder, by augmentation or smoothing" if train > validation else ""
        )
        return f"at last {validation:.4g} in validation, {train:.4g} in training{higher}"

    def missing(self) -> str:
        return f"no losses were saved, and there is no metrics.jsonl; {super().missing()}"
