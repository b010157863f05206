"""How good a network is on one split."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from container.failure import DataError, NonFiniteLossError
from train.batches import Batches, MicroBatch
from train.index import Index


class StopRequestedError(Exception):
    """The job was asked to stop while it evaluated."""


@dataclass(frozen=True)
class Evaluation:
    """`confusion[i, j]` counts images of class i that were taken for class j."""

    loss: float
    confusion: NDArray[np.int64]

    @property
    def images(self) -> int:
        return int(self.confusion.sum())

    @property
    def top1_accuracy(self) -> float:
        return float(np.trace(self.confusion)) / max(1, self.images)

    def metrics(self) -> dict[str, float]:
        return {"loss": self.loss, "top1_accuracy": self.top1_accuracy}

    def per_class(self, labels: list[str]) -> dict[str, dict[str, Any]]:
        """Precision is None for a class that was never predicted, recall for one without images."""
        right = np.diag(self.confusion)
        predicted, actual = self.confusion.sum(0), self.confusion.sum(1)
        table = {}
        for at, label in enumerate(labels):
            precision = float(right[at] / predicted[at]) if predicted[at] else None
            recall = float(right[at] / actual[at]) if actual[at] else None
            table[label] = {"precision": precision, "recall": recall, "images": int(actual[at])}
        return table


@torch.no_grad()
def evaluate(
    network: nn.Module,
    criterion: nn.Module,
    batches: Batches,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[None]],
    should_stop: Callable[[], bool],
    classes: int,
    bad_files_seen: Callable[[Index, list[str]], None],
    observe: Callable[[torch.Tensor, MicroBatch], None] | None = None,
) -> Evaluation:
    """`observe` is told the logits of every micro-batch.

    Raises StopRequestedError between mini-batches when `should_stop` says so, NonFiniteLossError
    where the network's answers are no numbers, DataError where no photo is left."""
    network.eval()
    criterion.eval()
    index = batches.index
    total = 0.0
    confusion = np.zeros((classes, classes), np.int64)
    for batch in batches.in_order():
        if should_stop():
            raise StopRequestedError
        if batch.bad:
            bad_files_seen(index, batch.bad)
        if not len(batch.targets):
            continue
        inputs = batches.prepare(batch.inputs.to(device))
        targets = batch.targets.to(device)
        with autocast():
            logits = network(inputs).float()
        if observe is not None:
            observe(logits, batch)
        total += criterion(logits, targets).item() * len(targets)
        predicted = logits.argmax(1).cpu().numpy()
        np.add.at(confusion, (batch.targets.numpy(), predicted), 1)
    images_seen = int(confusion.sum())
    if not images_seen:
        raise DataError(f"none of the {len(index)} photos of {index.channel} can be used any more")
    if not math.isfinite(total):
        raise NonFiniteLossError(f"the loss on {images_seen} held-out photos is {total}")
    return Evaluation(total / images_seen, confusion)
