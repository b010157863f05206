"""Updates that are too large or too small for the weights that they change.

Documented: the ratio of update to weight between this step and an earlier saved one is above
`large_threshold` or below `small_threshold`; compared with the first saved step >= step -
num_steps, or with the previous one where `num_steps` is None. The formula is not stated. Decided
here: mean(abs(w - w_before)) / (mean(abs(w_before)) + epsilon); `formula=norm` takes the 2-norms.
Only steps of training are compared. Frozen weights, which have no gradients, are left out, and so
are those that began as all zeros, whose first update has no ratio. An update that leaves NaN or
infinity behind is too large.
"""

import numpy as np

from debugger.rules.base import Finding, TensorRule, lower_rate, several
from debugger.rules.parameters import Parameter, number, one_of, perhaps, whole
from debugger.rules.weights import compared, mean_size

MOST_STEPS = 64
"""Saved steps whose values may still be compared with."""


class WeightUpdateRatio(TensorRule):
    name = "weight_update_ratio"
    summary = "an update is too large or too small for its weight"
    parameters = {
        "num_steps": Parameter(None, perhaps(whole), "Steps back; None is the last saved one."),
        "large_threshold": Parameter(10.0, number, "A ratio above it is too large."),
        "small_threshold": Parameter(1e-8, number, "A ratio below it is too small."),
        "epsilon": Parameter(1e-9, number, "Keeps the division finite."),
        "formula": Parameter(
            "mean_abs", one_of("mean_abs", "norm"), "How sizes are measured.", ours=True
        ),
    }
    saves = ("weights", "gradients")

    def begin(self) -> None:
        self._steps: dict[str, list[int]] = {}
        self._moved = False
        self._still: dict[str, tuple[int, int]] = {}

    def look(self, step: int) -> None:
        for name in self.matching(step, ("weights",)):
            if "num_batches_tracked" in name or not compared(self, name, step):
                continue
            value = self.value(name, step)
            if value is None:
                continue
            steps = self._steps.setdefault(name, [])
            before = self._earlier(steps, step)
            if before is not None:
                self._compare(name, before, step)
            steps.append(step)
            del steps[:-MOST_STEPS]

    def _earlier(self, steps: list[int], step: int) -> int | None:
        if self.chosen.num_steps is None:
            return steps[-1] if steps else None
        return next((each for each in steps if each >= step - self.chosen.num_steps), None)

    def _compare(self, name: str, before: int, step: int) -> None:
        old, new = self.value(name, before), self.value(name, step)
        if old is None or new is None or old.shape != new.shape or not np.any(old):
            return
        if not np.isfinite(old).all():
            return  # ruined before
        self.seen(step)
        size = mean_size if self.chosen.formula == "mean_abs" else np.linalg.norm
        ratio = float(size((new - old).ravel()) / (size(old.ravel()) + self.chosen.epsilon))
        self._moved = self._moved or ratio > 0
        if not np.isfinite(ratio):
            self.fire(step, name, np.inf, f"{ratio:.3g} between steps {before} and {step}")
        elif ratio == 0 and self.trained(name) is None:  # frozen, if others move
            first, times = self._still.get(name, (step, 0))
            self._still[name] = first, times + 1
        elif ratio > self.chosen.large_threshold or ratio < self.chosen.small_threshold:
            badness = ratio if ratio > self.chosen.large_threshold else 1 / (ratio + 1e-30)
            self.fire(step, name, badness, f"{ratio:.3g} between steps {before} and {step}")

    def conclude(self) -> None:
        if not self._moved:
            for name, (first, times) in self._still.items():
                self.fire(first, name, 1e30, f"0 in {times} comparisons, and no weight moves")

    def finding(self) -> Finding:
        worst = self.worst[0]
        words = self.fired[worst].words
        # what is no number is too large, too
        large = not words.startswith("0 ") and not float(words.split()[0]) <= 1
        rate = self.evidence.number("learning_rate")
        higher = f"learning_rate={rate * 10:.3g}" if rate else "a learning_rate 10 times it"
        return Finding(
            f"{several(self.worst)}: the update of {worst} is {words} of the weight (between "
            f"{self.chosen.small_threshold:g} and {self.chosen.large_threshold:g} is usual)",
            f"set {lower_rate(self.evidence)} and warmup_epochs=1" if large else f"set {higher}",
            "about 0.001 of a weight per update is what learning looks like",
            details={"worst": words, "tensors": len(self.fired)},
        )

    def unready(self) -> str:
        return ""

    def missing(self) -> str:
        return (
            "no trained weight was saved at two steps of training; set "
            "debug_collections=weights,gradients and debug_save_interval to less than half of "
            "the job's steps"
        )
