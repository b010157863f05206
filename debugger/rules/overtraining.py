"""Training that goes on after there is nothing left to learn.

Documented: `patience_train` and `patience_validation` are waited for an improvement of `delta`;
the connective is not stated. Decided here (`reading=and`): fires when the validation loss has not
improved by delta for patience_validation evaluations, while the training loss still improves or
has stalled for patience_train. With `reading=or` either patience alone does. `delta` is absolute.
Both are counted in evaluation passes: losses of single mini-batches improve by chance. Without
tensors the epochs of metrics.jsonl are looked at.
"""

from debugger.rules.base import Finding, TensorRule
from debugger.rules.losses import LossHistory
from debugger.rules.parameters import Parameter, number, one_of, whole
from debugger.verdict import Sureness


class Overtraining(TensorRule):
    name = "overtraining"
    summary = "the validation loss has not improved for `patience_validation` evaluations"
    parameters = {
        "patience_train": Parameter(5, whole, "Passes without a better training loss."),
        "patience_validation": Parameter(10, whole, "Passes without a better validation loss."),
        "delta": Parameter(0.01, number, "Least improvement, of the loss."),
        "reading": Parameter("and", one_of("and", "or"), "How both go together.", ours=True),
    }
    saves = ("losses",)

    def begin(self) -> None:
        self._losses = LossHistory(self)
        self._train: dict[str, tuple[float, int]] = {}
        self._validation: dict[str, tuple[float, int]] = {}
        self._points = 0
        self._best_at = 0

    def look(self, step: int) -> None:
        for name in self._losses.look(step):
            made = self._losses.of[name].passes[-2]
            self._judge(name, made.step, made.train, made.validation)

    def conclude(self) -> None:
        for name, losses in self._losses.of.items():
            if losses.passes:
                made = losses.passes[-1]
                self._judge(name, made.step, made.train, made.validation)
        told = len(self.evidence.curve("validation_loss"))
        if self._points >= min(told, self.chosen.patience_validation + 1):
            return
        self._points = 0  # the epochs tell more than what was saved of them
        for row in self.evidence.metrics:
            validation, train = row.get("validation_loss"), row.get("train_loss")
            if isinstance(validation, int | float):
                step = int(row.get("step", row.get("epoch", 0)))
                self.seen(step)
                known = float(train) if isinstance(train, int | float) else None
                self._judge("validation_loss", step, known, float(validation))

    def _judge(self, name: str, step: int, train: float | None, validation: float) -> None:
        self._points += 1
        stalled = train is not None and (
            self._since(self._train, name, train) >= self.chosen.patience_train
        )
        since = self._since(self._validation, name, validation)
        if since == 0:
            self._best_at = self._points
        late = since >= self.chosen.patience_validation
        # with `and`, the training loss either improves still or has stalled: it says which
        if late or (self.chosen.reading == "or" and stalled):
            what = "has stalled as well" if stalled else "still falls"
            lowest = self._validation[name][0]
            self.fire(
                step, name, since, f"{lowest:.4g} is {since} evaluations old; training {what}"
            )

    def _since(self, known: dict[str, tuple[float, int]], name: str, loss: float) -> int:
        best, since = known.get(name, (float("inf"), 0))
        better = loss <= best - self.chosen.delta or best == float("inf")
        known[name] = (loss, 0) if better else (best, since + 1)
        return known[name][1]

    def finding(self) -> Finding:
        worst = self.worst[0]
        wasted = self._points - self._best_at
        return Finding(
            f"the lowest validation loss of {self.fired[worst].words}",
            f"set epochs={self._best_at}, or early_stopping_patience="
            f"{max(1, self.chosen.patience_validation // 2)}",
            f"{wasted} of {self._points} evaluations came after the best: "
            f"{100 * wasted / self._points:.0f} % of the time",
            Sureness.LIKELY,
            {"best_evaluation": self._best_at, "evaluations": self._points},
        )

    def unready(self) -> str:
        needed = self.chosen.patience_validation
        if self._points > needed or (self.chosen.reading == "or" and self._points):
            return ""
        return (
            f"{self._points} evaluations were seen, and {needed + 1} are needed to judge; set "
            "patience_validation lower"
        )

    def missing(self) -> str:
        return f"no losses were saved, and there is no metrics.jsonl; {super().missing()}"
