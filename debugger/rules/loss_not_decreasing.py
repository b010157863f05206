"""A loss that does not fall any more, or never did.

Documented: scalars only; at most every `num_steps` steps the loss is compared with the newest one
at least `num_steps` steps back. What `diff_percent` and `increase_threshold_percent` do together
is not stated, and the platform's published tests contradict the page's words. `reading` chooses:

`documented`  fires if the decrease in per cent is below `diff_percent`; a rise above
              `increase_threshold_percent` is the stronger finding.
`historic`    as those tests have it: fires if the loss has risen by at least `diff_percent`; with
              0,
              also if it is equal.
`smoothed`    the default. Single mini-batches are so noisy that the documented reading fires on
              healthy jobs. Compared is the mean of a window, the losses saved in `num_steps` steps
              or in as many more as hold `least_losses`, with the lowest such mean before; it fires
              when `patience` windows, one after the other, were not lower by `diff_percent`, and
              the loss is not below `settled` of its first mean: a job that has learned its photos
              has nothing left to fall to. A rise is one beyond twice the standard error of the
              difference of two such means.

The mode, where none is given, is TRAIN, or GLOBAL of a job that names none. (The page says EVAL
first: of an evaluation, single mini-batches hold different photos and do not compare; `mode` asks
for them.) Without tensors the epochs of metrics.jsonl are looked at, `patience` + 1 of
them.
"""

from dataclasses import dataclass, field

import numpy as np

from debugger.rules import losses
from debugger.rules.base import EVAL, TRAIN, Finding, TensorRule, lower_rate
from debugger.rules.parameters import (
    Parameter,
    flag,
    names,
    number,
    one_of,
    pattern,
    perhaps,
    whole,
)
from debugger.verdict import Sureness


@dataclass
class Watched:
    """One loss in one mode."""

    values: list[tuple[int, float]] = field(default_factory=list)
    """Mode's steps and losses."""
    checked: int | None = None
    means: list[float] = field(default_factory=list)
    misses: int = 0
    lowest: float = np.inf
    error: float = 0.0
    """Standard error of `lowest`, squared."""


class LossNotDecreasing(TensorRule):
    name = "loss_not_decreasing"
    summary = "the loss has not fallen by `diff_percent` % in `num_steps` steps"
    parameters = {
        "collection_names": Parameter(None, perhaps(names), "Collections that are looked at."),
        "tensor_regex": Parameter(None, perhaps(pattern), "Names that are looked at."),
        "use_losses_collection": Parameter(True, flag, "Look at `losses`, too."),
        "num_steps": Parameter(10, whole, "Steps between two checks, and steps back."),
        "diff_percent": Parameter(0.1, number, "Least decrease, per cent."),
        "increase_threshold_percent": Parameter(5.0, number, "A rise above it is named as one."),
        "mode": Parameter(
            None, perhaps(one_of("train", "eval", "global", "predict")), "Whose steps."
        ),
        "reading": Parameter(
            "smoothed", one_of("smoothed", "documented", "historic"), "See above.", ours=True
        ),
        "patience": Parameter(3, whole, "`smoothed`: windows without a fall.", ours=True),
        "least_losses": Parameter(8, whole, "`smoothed`: losses of a window.", ours=True),
        "settled": Parameter(0.1, number, "`smoothed`: share of the first loss.", ours=True),
    }
    saves = ("losses",)

    def begin(self) -> None:
        self._watched: dict[str, Watched] = {}
        self._mode: str | None = self.chosen.mode.upper() if self.chosen.mode else None
        self._rise = 0.0
        self._judged = self._epochs = 0
        self._evaluated = False

    def look(self, step: int) -> None:
        mode = self.mode(step)
        if self._mode is None and mode != EVAL:
            self._mode = mode
        if mode != self._mode and self._mode != "GLOBAL":
            self._evaluated = self._evaluated or mode == EVAL
            return
        collections = tuple(self.chosen.collection_names or ())
        if self.chosen.use_losses_collection:
            collections += self.saves
        for name, loss in losses.read(self, step, collections, self.chosen.tensor_regex):
            watched = self._watched.setdefault(name, Watched())
            at = step if self._mode == "GLOBAL" else self.base_trial.mode_step(step)
            watched.values.append((at, loss))
            if watched.checked is None:
                watched.checked = at
            if at - watched.checked >= self.chosen.num_steps and self._enough(watched):
                self._check(name, watched, step)
                watched.checked = at
            keep = min(watched.checked, at - self.chosen.num_steps * 4)
            while watched.values and watched.values[0][0] < keep:
                watched.values.pop(0)

    def _enough(self, watched: Watched) -> bool:
        least = max(1, int(self.chosen.least_losses))
        return self.chosen.reading != "smoothed" or len(self._window(watched)) >= least

    def _window(self, watched: Watched) -> list[float]:
        """The losses since the last check."""
        checked = -np.inf if watched.checked is None else watched.checked
        return [loss for at, loss in watched.values if at > checked]

    def _check(self, name: str, watched: Watched, step: int) -> None:
        self._judged += 1
        if self.chosen.reading == "smoothed":
            self._check_mean(name, watched, step)
            return
        at, loss = watched.values[-1]
        earlier = [each for each in watched.values if each[0] <= at - self.chosen.num_steps]
        if not earlier:
            return
        before, known = earlier[-1]
        change = 100 * (loss - known) / (abs(known) or 1e-30)
        if self.chosen.reading == "documented":
            fires = -change < self.chosen.diff_percent or not np.isfinite(loss)
        else:
            fires = change >= self.chosen.diff_percent
        if fires:
            self._rise = max(self._rise, change)
            words = f"{loss:.4g} after {known:.4g} {at - before} steps before ({change:+.1f} %)"
            self.fire(step, name, change, words)

    def _check_mean(self, name: str, watched: Watched, step: int) -> None:
        window = self._window(watched)
        mean = float(np.mean(window))
        error = float(np.var(window, ddof=1)) / len(window) if len(window) > 1 else 0.0
        self._add_mean(name, watched, mean, error, step, f"over {len(window)} losses")

    def _add_mean(
        self, name: str, watched: Watched, mean: float, error: float, step: int, of: str
    ) -> None:
        low = watched.lowest * (1 - np.sign(watched.lowest) * self.chosen.diff_percent / 100)
        fell = not watched.means or mean < low
        watched.means.append(mean)
        watched.misses = 0 if fell else watched.misses + 1
        settled = mean <= self.chosen.settled * watched.means[0]
        if watched.misses >= self.chosen.patience and not settled:
            change = 100 * (mean - watched.lowest) / (abs(watched.lowest) or 1e-30)
            if mean - watched.lowest > 2 * np.sqrt(error + watched.error):
                self._rise = max(self._rise, change)
            words = f"{mean:.4g} {of}, after {watched.lowest:.4g} at its lowest ({change:+.1f} %)"
            self.fire(step, name, watched.misses, words)
        if mean < watched.lowest:
            watched.lowest, watched.error = mean, error

    def conclude(self) -> None:
        if self._judged or self.chosen.reading != "smoothed":
            return
        watched = Watched()
        key = "validation_loss" if self._mode == EVAL else "train_loss"
        for row in self.evidence.metrics:
            if isinstance(row.get(key), int | float):
                step = int(row.get("step", row.get("epoch", 0)))
                self.seen(step)
                self._judged += 1
                self._epochs += 1
                self._add_mean(key, watched, float(row[key]), 0.0, step, "over an epoch")

    def finding(self) -> Finding:
        worst = self.worst[0]
        rising = self._rise > self.chosen.increase_threshold_percent
        rate = self.evidence.number("learning_rate")
        higher = f" or, if the loss was flat from its first step, {rate * 10:.3g}" if rate else ""
        return Finding(
            f"{worst} {'rises' if rising else 'does not fall'}: {self.fired[worst].words}; first "
            f"seen at step {self.steps[0]}",
            f"set {lower_rate(self.evidence)}{'' if rising else higher}; or end here "
            "(early_stopping_patience=3) if it has fallen far before",
            "steps after the lowest loss are paid for and bring nothing",
            Sureness.CERTAIN if rising else Sureness.LIKELY,
            {"rise_percent": self._rise, "first_step": self.steps[0]},
        )

    def unready(self) -> str:
        windows = max((len(each.means) for each in self._watched.values()), default=0)
        windows = max(windows, self._epochs)
        if self.chosen.reading == "smoothed" and 0 < windows <= self.chosen.patience:
            return f"{windows} means were seen, and {self.chosen.patience + 1} are needed to judge"
        if self._judged:
            return ""
        return (
            f"no {self.chosen.least_losses} losses of a mode were seen over "
            f"{self.chosen.num_steps} steps; train longer, or save more often"
        )

    def missing(self) -> str:
        mode = f" in mode {self._mode}" if self._mode not in (None, TRAIN) else ""
        if self._mode is None and self._evaluated:
            return "no step of training was saved, only evaluations: set mode=eval to look at those"
        return f"no loss was saved{mode}, and there is no metrics.jsonl; {super().missing()}"
