"""Cross-entropy that smooths targets in training only, so that evaluation losses compare."""

import torch
from torch import nn
from torch.nn import functional


class CrossEntropyLoss(nn.CrossEntropyLoss):
    """Named like its base: the Debugger's tensors are called after the class."""

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """N x classes, N -> the mean, a scalar."""
        smoothing = self.label_smoothing if self.training else 0.0
        return functional.cross_entropy(logits, targets, label_smoothing=smoothing)
