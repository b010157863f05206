"""The losses. Smoothing and weights are for training only, so that evaluation losses compare.

Classes named like their bases: the Debugger's tensors are called after the class.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from train.hyperparameters import Hyperparameters

HEAVIEST = 100.0
"""Largest weight of a class: a single photo of one must not outshout all others."""


class CrossEntropyLoss(nn.CrossEntropyLoss):
    """One label a photo. `weight` has a mean of 1 over the photos, so that no micro-batch's share
    depends on which classes are in it."""

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """N x classes, N classes or N x classes shares -> the mean, a scalar."""
        if not self.training:
            return functional.cross_entropy(logits, targets)
        total = functional.cross_entropy(
            logits, targets, self.weight, reduction="sum", label_smoothing=self.label_smoothing
        )
        return total / len(targets)


class BCEWithLogitsLoss(nn.BCEWithLogitsLoss):
    """Several labels a photo, or none: a yes or no for every class."""

    def __init__(self, label_smoothing: float, pos_weight: torch.Tensor | None) -> None:
        super().__init__(pos_weight=pos_weight)
        self.label_smoothing = label_smoothing

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """N x classes, N x classes of 0 to 1 -> the mean over both, a scalar."""
        goals = targets.float()
        if not self.training:
            return functional.binary_cross_entropy_with_logits(logits, goals)
        goals = goals * (1 - self.label_smoothing) + self.label_smoothing / 2
        return functional.binary_cross_entropy_with_logits(
            logits, goals, pos_weight=self.pos_weight
        )


def make(
    chosen: Hyperparameters, counts: NDArray[np.int64], photos: int, multi_label: bool
) -> nn.Module:
    """The loss for a train split of `photos`, with so many of each class."""
    balanced = chosen.class_weighting == "balanced"
    counts = np.maximum(counts, 1)
    if multi_label:
        weights = _capped((photos - counts) / counts) if balanced else None
        return BCEWithLogitsLoss(chosen.label_smoothing, weights)
    weights = _capped(photos / (len(counts) * counts)) if balanced else None
    return CrossEntropyLoss(weights, label_smoothing=chosen.label_smoothing)


def _capped(weights: NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(np.minimum(weights, HEAVIEST)).float()
