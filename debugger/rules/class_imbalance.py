"""Classes with far more photos than others, or one that the network gives up.

Documented: after `samples` labels the ratio of class counts > threshold_imbalance, or a class's
share of mispredictions > threshold_misprediction. The page's ratio is "between smallest and
largest", which no threshold of 10 could pass; the platform's published test fires on 990 against
10, so it is largest / smallest. A class that never appears counts only if `model.json` says how
many there are. An untrained network mispredicts every class; so a class fires by its
mispredictions only if the others are, together, mispredicted less than half as often as the
threshold, and if that lasts for `patience` times `samples` labels: on the way to a good network
one class after the other is learned (`reading=documented` asks neither). Predictions with several
values per photo are logits, whatever `argmax` says. Labels are counted in training, and
mispredictions over the last `samples` of them.
"""

import numpy as np

from debugger.rules import answers
from debugger.rules.base import EVAL, Finding, TensorRule
from debugger.rules.parameters import Parameter, flag, number, one_of, pattern, whole


class ClassImbalance(TensorRule):
    name = "class_imbalance"
    summary = "classes differ too much in photos, or one is always mistaken"
    parameters = {
        "threshold_imbalance": Parameter(10.0, number, "Largest class by smallest."),
        "threshold_misprediction": Parameter(0.7, number, "Of a class's photos."),
        "samples": Parameter(500, whole, "Labels before it is judged."),
        "argmax": Parameter(False, flag, "Predictions are logits."),
        "labels_regex": Parameter(answers.labels_regex(".*labels"), pattern, "Names of labels."),
        "predictions_regex": Parameter(
            answers.predictions_regex(".*predictions"), pattern, "Names of predictions."
        ),
        "patience": Parameter(2, whole, "`relative`: times `samples` labels.", ours=True),
        "reading": Parameter("relative", one_of("relative", "documented"), "See above.", ours=True),
    }
    saves = ("labels", "predictions")

    def begin(self) -> None:
        self._counts: answers.Classes = np.zeros(0, np.int64)
        self._recent: list[tuple[answers.Classes, answers.Classes]] = []
        self._classes = 0
        self._since: dict[int, int] = {}
        """Of each class that is mistaken, labels that had been seen when that began."""

    def look(self, step: int) -> None:
        if self.mode(step) == EVAL:
            return
        made = answers.pair(self, step, self.chosen.labels_regex, self.chosen.predictions_regex)
        if made is None:
            return
        targets, predicted, width = made
        self.seen(step)
        self._classes = max(self._classes, width)
        size = max(len(self._counts), int(targets.max()) + 1)
        self._counts = np.pad(self._counts, (0, size - len(self._counts)))
        self._counts += np.bincount(targets, minlength=size)
        self._recent.append((targets, predicted))
        while sum(len(each) for each, _ in self._recent[1:]) >= self.chosen.samples:
            self._recent.pop(0)
        if self._counts.sum() >= self.chosen.samples:
            self._judge(step)

    def _judge(self, step: int) -> None:
        counts: answers.Classes = self._counts
        if self.evidence.classes:  # a class without a photo counts
            counts = np.pad(counts, (0, max(0, self.evidence.classes - len(counts))))
        else:
            counts = counts[counts > 0]
        ratio = counts.max() / max(1, counts.min())
        if ratio > self.chosen.threshold_imbalance:
            words = f"{counts.max()} photos in the largest class, {counts.min()} in the smallest"
            self.fire(step, "labels", float(ratio), words)
        targets = np.concatenate([each for each, _ in self._recent])
        wrong = targets != np.concatenate([each for _, each in self._recent])
        total = int(counts.sum())
        wait = self.chosen.samples * (max(1, self.chosen.patience) - 1)
        for label in np.unique(targets):
            mine = targets == label
            share, others = wrong[mine].mean(), wrong[~mine].mean() if (~mine).any() else 0.0
            threshold = self.chosen.threshold_misprediction
            documented = self.chosen.reading == "documented"
            if share <= threshold or not (documented or others < threshold / 2):
                self._since.pop(int(label), None)
            elif total - self._since.setdefault(int(label), total) >= wait or documented:
                words = f"{100 * share:.0f} % of its photos mistaken, others {100 * others:.0f} %"
                self.fire(step, f"class {label}", float(share), words)

    def finding(self) -> Finding:
        worst = self.worst[0]
        return Finding(
            f"{worst}: {self.fired[worst].words}, in {int(self._counts.sum())} labels",
            "set class_weighting=balanced, or add photos of the rare classes",
            "each class then has the same say in the loss",
            details={"counts": self._counts[:1000].tolist()},
        )

    def unready(self) -> str:
        seen = int(self._counts.sum())
        if seen >= self.chosen.samples:
            return ""
        return f"{seen} labels were saved, and {self.chosen.samples} are needed; set samples={seen}"
