"""Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019): training photos blended in pairs, and
their targets with them.

Made on the device from what is there anyway. Which photos, and how much of each, depends on the
seed and the micro-batch alone, so that a resumed run mixes as the whole one would have.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from train.schedule import Spec

Pair = tuple[torch.Tensor, torch.Tensor]
Mixing = Callable[[torch.Tensor, torch.Tensor, Spec], Pair]
"""The network's inputs and targets of a micro-batch -> both, mixed."""


def unmixed(inputs: torch.Tensor, targets: torch.Tensor, spec: Spec) -> Pair:
    return inputs, targets


@dataclass(frozen=True)
class Mix:
    """`mixup` and `cutmix` are the alphas of beta distributions; 0 for none."""

    mixup: float
    cutmix: float
    classes: int
    seed: int

    def __call__(self, inputs: torch.Tensor, targets: torch.Tensor, spec: Spec) -> Pair:
        cutmix = self.cutmix if inputs.ndim == 4 else 0.0  # rows of features have no boxes
        if not (self.mixup or cutmix) or len(targets) < 2:
            return inputs, targets
        random = np.random.default_rng([self.seed, spec.epoch, spec.step, int(spec.positions[0])])
        cut = bool(cutmix) and (not self.mixup or random.random() < 0.5)
        alpha = cutmix if cut else self.mixup
        share = random.beta(alpha, alpha)
        partner = torch.from_numpy(random.permutation(len(targets))).to(inputs.device)
        if cut:
            mixed, share = _paste(inputs, inputs[partner], share, random)
        else:
            mixed = inputs.lerp(inputs[partner], share)
        goals = targets if targets.ndim == 2 else functional.one_hot(targets, self.classes)
        goals = goals.float()
        return mixed, goals.lerp(goals[partner], share)


def _paste(
    inputs: torch.Tensor, others: torch.Tensor, share: float, random: np.random.Generator
) -> tuple[torch.Tensor, float]:
    """A box of `others` over `inputs`, and its share of the area: less than asked at an edge."""
    height, width = inputs.shape[-2:]
    rows = _span(height, share**0.5, random)
    columns = _span(width, share**0.5, random)
    mixed = inputs.clone()
    mixed[..., rows, columns] = others[..., rows, columns]
    return mixed, (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)


def _span(side: int, share: float, random: np.random.Generator) -> slice:
    middle, half = int(random.integers(side)), round(side * share / 2)
    return slice(max(0, middle - half), min(side, middle + half))
