"""Classes that the network takes for one another.

Documented: confusion[label][prediction] is counted; fires if a diagonal share < min_diag or
another share > max_off_diag. The page divides the diagonal by the sum of the diagonal, which would
fire on ten perfect classes (0.1 each) where the platform's published test demands silence. The
consistent reading is used: all shares are per predicted class (`normalise=label`: per label, which
is recall); predicted classes that never occur are skipped. `category_no` defaults to the larger
number of classes seen. An untrained network confuses everything, so this rule is judged at the
end: over the last evaluation pass, or over the last `window` answers of training where none was
saved. 0.9 is harsh for many classes; give min_diag.
"""

import re

import numpy as np

from debugger.rules import answers
from debugger.rules.base import EVAL, Finding, TensorRule
from debugger.rules.parameters import Parameter, number, one_of, pattern, perhaps, text, whole
from debugger.verdict import Sureness


class Confusion(TensorRule):
    name = "confusion"
    summary = "a class is right less often than `min_diag`, or another is in its place"
    parameters = {
        "category_no": Parameter(None, perhaps(whole), "Number of classes."),
        "labels": Parameter(answers.labels_regex("^labels$"), pattern, "Names of labels."),
        "predictions": Parameter(
            answers.predictions_regex("^predictions$"), pattern, "Names of predictions."
        ),
        "labels_collection": Parameter("labels", text, "Collection of the labels."),
        "predictions_collection": Parameter("predictions", text, "Collection of predictions."),
        "min_diag": Parameter(0.9, number, "Least share that is right."),
        "max_off_diag": Parameter(0.1, number, "Largest share of one other class."),
        "normalise": Parameter(
            "prediction", one_of("prediction", "label"), "What shares are of.", ours=True
        ),
        "window": Parameter(500, whole, "Answers of training, without evaluations.", ours=True),
    }
    saves = ("labels", "predictions")
    at_end = True

    def begin(self) -> None:
        self._last: tuple[int, int] | None = None
        self._evaluated: list[tuple[answers.Classes, answers.Classes]] = []
        self._trained: list[tuple[answers.Classes, answers.Classes]] = []
        self._wide = 0
        self._step = 0

    def look(self, step: int) -> None:
        made = answers.pair(self, step, self._names_of("labels"), self._names_of("predictions"))
        if made is None:
            return
        self.seen(step)
        targets, predicted, width = made
        self._wide, self._step = max(self._wide, width), step
        if self.mode(step) == EVAL:
            at = (step, self.base_trial.mode_step(step))
            last, self._last = self._last, at
            if last is not None and at[0] - last[0] != at[1] - last[1]:
                self._evaluated = []  # another pass
            self._evaluated.append((targets, predicted))
            return
        self._trained.append((targets, predicted))
        while sum(len(each) for each, _ in self._trained[1:]) >= self.chosen.window:
            self._trained.pop(0)

    def _names_of(self, what: str) -> str:
        """The regex, or a tensor of the collection by that name."""
        regex: str = getattr(self.chosen, what)
        made = self.base_trial.collections().get(getattr(self.chosen, f"{what}_collection"))
        if made is not None and made.tensor_names:
            named = "|".join(f"^{re.escape(name)}$" for name in sorted(made.tensor_names))
            return f"{regex}|{named}"
        return regex

    @property
    def _pairs(self) -> list[tuple[answers.Classes, answers.Classes]]:
        return self._evaluated or self._trained

    def conclude(self) -> None:
        if not self._pairs:
            return
        targets = np.concatenate([each for each, _ in self._pairs])
        predicted = np.concatenate([each for _, each in self._pairs])
        if self.chosen.category_no:
            known = (targets < self.chosen.category_no) & (predicted < self.chosen.category_no)
            targets, predicted = targets[known], predicted[known]
        # the pairs that occur: a table of all of them is too large for many classes
        pairs, counts = np.unique(np.stack([targets, predicted], 1), axis=0, return_counts=True)
        whole = pairs[:, 1 if self.chosen.normalise == "prediction" else 0]
        total = np.bincount(whole, counts)
        shares = counts / total[whole]
        right = np.zeros(len(total))
        same = pairs[:, 0] == pairs[:, 1]
        right[pairs[same, 0]] = shares[same]
        for label in np.flatnonzero((total > 0) & (right < self.chosen.min_diag)):
            words = f"{100 * right[label]:.0f} % right"
            self.fire(self._step, f"class {label}", 1 - float(right[label]), words)
        for at in np.flatnonzero(~same & (shares > self.chosen.max_off_diag)):
            label, taken = pairs[at].tolist()
            share = float(shares[at])
            self.fire(self._step, f"class {label} taken for {taken}", share - 1e-9,
                      f"{100 * share:.0f} %")  # fmt: skip

    def finding(self) -> Finding:
        worst = self.worst[0]
        count = sum(len(each) for each, _ in self._pairs)
        return Finding(
            f"{worst}: {self.fired[worst].words}, of {count} answers; {len(self.fired)} shares are "
            "outside the limits",
            "look at the most confused pairs in report.html for wrong labels; train longer "
            "(epochs=20) or all weights (fine_tune=all)",
            sureness=Sureness.LIKELY if self._evaluated else Sureness.POSSIBLE,
            details={"answers": count, "shares": len(self.fired)},
        )
