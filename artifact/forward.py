"""Photos -> logits -> probabilities: one way for evaluation, export and serving."""

import torch
from torch import nn


def logits(network: nn.Module, images: torch.Tensor, flip: bool) -> torch.Tensor:
    """N x 3 x H x W -> N x classes float32; with `flip` the mean over each photo and its mirror
    image, in logits, so that loss and probabilities are of the same answer."""
    answer: torch.Tensor = network(images).float()
    if not flip:
        return answer
    if images.ndim != 4:
        raise ValueError(f"inputs of shape {tuple(images.shape)} have no mirror image")
    mirrored: torch.Tensor = network(images.flip(3)).float()
    return (answer + mirrored) / 2


def probabilities(logits: torch.Tensor, multi_label: bool) -> torch.Tensor:
    """Of N x classes: adding up to 1, or each for itself where a photo may have several labels."""
    return torch.sigmoid(logits) if multi_label else torch.softmax(logits, dim=1)
