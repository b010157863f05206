"""Photos with several labels, or none: average precision and F1 of every class.

Counted in histograms of logits, so that a split of any size takes the same memory: what lies within
1/64 of a logit counts as a tie, which moves an average precision in its third digit at most.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from train.channels import Splits
from train.distributed import Team
from train.index import Index

FARTHEST, PER_LOGIT = 16, 64
BINS = 2 * FARTHEST * PER_LOGIT
HALF = BINS // 2
"""The first bin of a probability of at least 0.5."""

FEWEST = 10
"""Photos of a class below which its own threshold would be luck, and 0.5 is kept."""

Counts = NDArray[np.int64]
Shares = NDArray[np.float64]


def widened(splits: Splits, asked: bool) -> Splits:
    """Every split with a 0 or 1 for each class, where that is `asked` or one of them has it."""
    given = [each for each in (splits.train, splits.validation, splits.test) if each is not None]
    if not asked and not any(index.multi_label for index in given):
        return splits
    classes = len(splits.labels)
    return replace(
        splits,
        train=_widened(splits.train, classes),
        validation=_widened(splits.validation, classes),
        test=None if splits.test is None else _widened(splits.test, classes),
    )


def _widened(index: Index, classes: int) -> Index:
    if index.multi_label:
        return index
    rows = np.zeros((len(index), classes), np.uint8)
    rows[np.arange(len(index)), index.targets] = 1
    return replace(index, targets=rows)


@dataclass(frozen=True)
class MultiLabel:
    """What an evaluation counted; `present[i, b]`: photos with label i whose logit is in bin b."""

    present: Counts
    absent: Counts
    together: Counts
    """[i, j]: photos with label i that were given label j, at 0.5."""
    images: int
    right: int
    """Photos whose most probable label is one of theirs."""

    @classmethod
    def empty(cls, classes: int) -> "MultiLabel":
        def bins() -> Counts:
            return np.zeros((classes, BINS), np.int64)

        return cls(bins(), bins(), np.zeros((classes, classes), np.int64), 0, 0)

    def plus(self, logits: torch.Tensor, targets: torch.Tensor, right: int) -> "MultiLabel":
        """With a mini-batch more; its histograms are added to in place."""
        given = targets.cpu().numpy().astype(np.int64)
        near = torch.nan_to_num(logits).clamp(-FARTHEST, FARTHEST).cpu().numpy()
        bins = np.minimum((near + FARTHEST) * PER_LOGIT, BINS - 1).astype(np.int64)
        classes = np.broadcast_to(np.arange(bins.shape[1]), bins.shape)
        for counts, of in ((self.present, given == 1), (self.absent, given == 0)):
            np.add.at(counts, (classes[of], bins[of]), 1)
        together = self.together + given.T @ (bins >= HALF)
        return replace(
            self, together=together, images=self.images + len(given), right=self.right + right
        )

    def of_all(self, team: Team) -> "MultiLabel":
        """Summed over all processes."""
        images, right = team.sum(np.array([self.images, self.right])).tolist()
        return MultiLabel(
            team.sum(self.present), team.sum(self.absent), team.sum(self.together), images, right
        )

    def average_precisions(self) -> Shares:
        """Mean precision over a class's photos, from the most probable on; nan without any."""
        found, false = _from_top(self.present), _from_top(self.absent)
        precision = found / np.maximum(found + false, 1)
        total = self.present.sum(1)
        sums = (precision * self.present).sum(1)
        return np.where(total > 0, sums / np.maximum(total, 1), np.nan)

    def metrics(self) -> dict[str, float]:
        """Macro F1 is the mean over classes that a photo has or was given."""
        found, false, missed = self._at(np.full(len(self.present), HALF))
        seen = found + false + missed > 0
        f1 = _f1(found, false, missed)
        precisions = self.average_precisions()
        known = precisions[~np.isnan(precisions)]
        return {
            "mean_average_precision": float(known.mean()) if len(known) else 0.0,
            "macro_f1": float(f1[seen].mean()) if seen.any() else 0.0,
            "micro_f1": float(_f1(found.sum(), false.sum(), missed.sum())),
        }

    def per_class(self, labels: list[str]) -> dict[str, dict[str, Any]]:
        """At a probability of 0.5. None where nothing was there to divide by."""
        found, false, missed = self._at(np.full(len(labels), HALF))
        precisions = self.average_precisions()
        return {
            label: {
                "precision": _share(found[at], found[at] + false[at]),
                "recall": _share(found[at], found[at] + missed[at]),
                "f1": _share(2 * found[at], 2 * found[at] + false[at] + missed[at]),
                "average_precision": None if np.isnan(precisions[at]) else float(precisions[at]),
                "images": int(found[at] + missed[at]),
            }
            for at, label in enumerate(labels)
        }

    def thresholds(self) -> list[float]:
        """Per class the probability from which its F1 is best; of equally good ones the nearest to
        0.5."""
        found, false = _from_top(self.present), _from_top(self.absent)
        total = self.present.sum(1, keepdims=True)
        f1 = _f1(found, false, total - found)
        # a millionth per bin: decides between equals only
        f1 = np.round(f1, 6) - 1e-9 * np.abs(np.arange(BINS) - HALF)
        best = np.where(total[:, 0] >= FEWEST, f1.argmax(1), HALF)
        return [round(float(1 / (1 + np.exp(FARTHEST - one / PER_LOGIT))), 6) for one in best]

    def _at(self, bins: Counts) -> tuple[Counts, Counts, Counts]:
        """Per class, from its bin on: photos found, falsely found, missed."""
        rows = np.arange(len(bins))
        found = _from_top(self.present)[rows, bins]
        return found, _from_top(self.absent)[rows, bins], self.present.sum(1) - found


def _from_top(counts: Counts) -> Counts:
    """Photos in a bin or above it."""
    return counts[:, ::-1].cumsum(1)[:, ::-1]


def _f1(found: Any, false: Any, missed: Any) -> Any:
    return 2 * found / np.maximum(2 * found + false + missed, 1)


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
