"""The update rule and the learning rate over the steps."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from artifact.network import head
from train.hyperparameters import Hyperparameters

STEP_FACTOR = 0.1
RATE_FACTOR = "rate_factor"
"""Key of a parameter group: its learning rate as a part of the schedule's."""


def make(hyperparameters: Hyperparameters, network: nn.Module) -> torch.optim.Optimizer:
    """Over the weights that are trained. Biases and scales of normalisation do not decay: that
    would only pull activations towards zero (as torchvision's and timm's recipes have it)."""
    of_head = {id(parameter) for parameter in head(network).parameters()}
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for parameter in network.parameters():
        if not parameter.requires_grad:
            continue
        decays, new = parameter.ndim > 1, id(parameter) in of_head
        group = groups.setdefault((decays, new), {
            "params": [],
            "weight_decay": hyperparameters.weight_decay if decays else 0.0,
            RATE_FACTOR: 1.0 if new else hyperparameters.resolved_backbone_factor,
        })  # fmt: skip
        group["params"].append(parameter)
    return _rule(hyperparameters, list(groups.values()))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The head's; a backbone that was trained before learns at a part of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(RATE_FACTOR, 1.0)


def _rule(hyperparameters: Hyperparameters, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    # every update sets its own rate; one that is still to be found (auto) is none for now
    rate = max(hyperparameters.learning_rate, 0.0)
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
