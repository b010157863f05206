"""Averaged weights: what is evaluated, kept and exported while the optimizer moves its own.

An exponential average over the updates stands near the middle of the steps that a high learning
rate takes around it, so that it is good before the rate has fallen, and steady from epoch to epoch.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from train.hyperparameters import Hyperparameters
from train.schema import AUTO

UPDATES = "updates made"
SHORTEST, LONGEST = 10, 10_000
"""Updates that `auto` averages over, at least and at most."""

Tensors = dict[str, torch.Tensor]


def decay_of(chosen: Hyperparameters, steps_per_epoch: int) -> float:
    """auto: about an epoch, which is as long as the network needs to see every photo. A head on
    frozen features has one minimum, which a falling rate reaches without an average."""
    if chosen.ema_decay != AUTO:
        return chosen.ema_decay
    if chosen.fine_tune == "head":
        return 0.0
    return 1 - 1 / min(max(steps_per_epoch, SHORTEST), LONGEST)


class Average:
    """Of the trained weights and the running statistics of one network; with a decay of 0 of none.

    The network must be where it stays: the average is made on the same device.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = network
        self.decay = decay
        self.updates = 0
        self._kept = {name: each.clone() for name, each in self._own().items()} if decay else {}

    def _own(self) -> Tensors:
        named = [
            *((name, each) for name, each in self.network.named_parameters() if each.requires_grad),
            *self.network.named_buffers(),
        ]
        return {name: each.detach() for name, each in named if each.is_floating_point()}

    @torch.no_grad()
    def update(self) -> None:
        """After every update. The first ones weigh more than `decay` says: they would else be
        drowned by the random weights from before."""
        if not self._kept:
            return
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        own = self._own()
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average(list(self._kept.values()), [own[name] for name in self._kept], self.updates)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network is its average inside, and itself again after."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    @torch.no_grad()
    def exchange(self) -> None:
        """Swaps the network's own tensors with the average's; one more tensor in memory."""
        own = self._own()
        for name, kept in self._kept.items():
            before = own[name].clone()
            own[name].copy_(kept)
            kept.copy_(before)

    def state_dict(self) -> dict[str, Any]:
        """A part of a checkpoint."""
        return {**self._kept, UPDATES: torch.tensor(self.updates)} if self._kept else {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        for name, kept in self._kept.items():
            kept.copy_(state_dict[name])
        if self._kept:
            self.updates = int(state_dict[UPDATES])
