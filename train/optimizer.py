"""The update rule and the learning rate over the steps."""

import math
from collections.abc import Callable

import torch
from torch import nn

from train.hyperparameters import Hyperparameters

STEP_FACTOR = 0.1


def make(hyperparameters: Hyperparameters, network: nn.Module) -> torch.optim.Optimizer:
    """Over the weights that are trained. Biases and scales of normalisation do not decay: that
    would only pull activations towards zero (as torchvision's and timm's recipes have it)."""
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in network.parameters():
        if parameter.requires_grad:
            (decayed if parameter.ndim > 1 else kept).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": hyperparameters.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    rate = hyperparameters.learning_rate
    if hyperparameters.optimizer == "sgd":
        return torch.optim.SGD(groups, rate, momentum=hyperparameters.momentum, fused=True)
    rule = torch.optim.Adam if hyperparameters.optimizer == "adam" else torch.optim.AdamW
    return rule(groups, rate, eps=hyperparameters.epsilon, fused=True)


def schedule(hyperparameters: Hyperparameters, steps_per_epoch: int) -> Callable[[int], float]:
    """Step, from 0, -> learning rate."""
    peak = hyperparameters.learning_rate
    total = hyperparameters.epochs * steps_per_epoch
    warmup = min(round(hyperparameters.warmup_epochs * steps_per_epoch), total)

    def rate(step: int) -> float:
        if step < warmup:
            return peak * (step + 1) / warmup
        done = (step - warmup) / max(1, total - warmup)
        if hyperparameters.schedule == "cosine":
            return peak * 0.5 * (1 + math.cos(math.pi * done))
        if hyperparameters.schedule == "step":
            return peak * STEP_FACTOR ** int(3 * done)
        return peak

    return rate
