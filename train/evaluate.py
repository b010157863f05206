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

from artifact import forward
from container.failure import DataError, NonFiniteLossError
from train.batches import Batches, MicroBatch
from train.distributed import ALONE, Team
from train.index import Index
from train.memory import Room
from train.multi_label import MultiLabel
from train.nonfinite import first_guilty


class StopRequestedError(Exception):
    """The job was asked to stop while it evaluated."""


@dataclass(frozen=True)
class Evaluation:
    """`confusion[i, j]` counts images of class i that were taken for class j; where a photo has
    several labels, photos with label i that were given label j."""

    loss: float
    confusion: NDArray[np.int64]
    several: MultiLabel | None = None
    """Where photos may have several labels."""

    @property
    def images(self) -> int:
        return self.several.images if self.several else int(self.confusion.sum())

    @property
    def top1_accuracy(self) -> float:
        """Share of photos whose most probable label is right, or is one of theirs."""
        right = self.several.right if self.several else int(np.trace(self.confusion))
        return right / max(1, self.images)

    def metrics(self) -> dict[str, float]:
        more = self.several.metrics() if self.several else {}
        return {"loss": self.loss, "top1_accuracy": self.top1_accuracy, **more}

    def per_class(self, labels: list[str]) -> dict[str, dict[str, Any]]:
        """Precision is None for a class that was never predicted, recall for one without images."""
        if self.several:
            return self.several.per_class(labels)
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
    *,
    flip: bool = False,
    team: Team = ALONE,
    advance: Callable[[int], None] = lambda _: None,
    room: Room | None = None,
) -> Evaluation:
    """`observe` is told the logits of every micro-batch. `room` remembers from one evaluation to
    the next that memory is short.

    Raises StopRequestedError between mini-batches when `should_stop` says so, NonFiniteLossError
    where the network's answers are no numbers, DataError where no photo is left."""
    network.eval()
    criterion.eval()
    index = batches.index
    total, images_seen, stop = 0.0, 0, False
    confusion = np.zeros((classes, classes), np.int64)
    several = MultiLabel.empty(classes) if index.multi_label else None
    room = room or Room()

    def answers(part: torch.Tensor) -> torch.Tensor:
        inputs = batches.prepare(part.to(device))
        with autocast():
            return forward.logits(network, inputs, flip)

    for batch in batches.in_order():
        if stop := should_stop():
            break
        if batch.bad:
            bad_files_seen(index, batch.bad)
        if not len(batch.targets):
            continue
        logits = room.answers(answers, batch.inputs)
        targets = batch.targets.to(device)
        if observe is not None:
            observe(logits, batch)
        images_seen += len(targets)
        total += criterion(logits, targets).item() * len(targets)
        if not math.isfinite(total):
            at = int((~torch.isfinite(logits)).any(1).int().argmax())
            inputs = batches.prepare(batch.inputs[at : at + 1].to(device))
            with autocast():
                guilty = first_guilty(network, inputs)
            raise NonFiniteLossError(
                f"the loss on {images_seen} held-out photos is {total}; {guilty}"
            )
        advance(len(targets))
        if several is not None:
            several = several.plus(logits, batch.targets, count_right(logits, targets))
            continue
        predicted = logits.argmax(1).cpu().numpy()
        np.add.at(confusion, (batch.targets.numpy(), predicted), 1)
    total, stops = team.sum(np.array([total, stop])).tolist()
    images_seen = int(team.sum(np.array([images_seen]))[0])
    if stops:
        raise StopRequestedError
    confusion[:] = team.sum(confusion)
    several = None if several is None else several.of_all(team)
    if not images_seen:
        raise DataError(f"none of the {len(index)} photos of {index.channel} can be used any more")
    return Evaluation(
        total / images_seen, confusion if several is None else several.together, several
    )


def count_right(logits: torch.Tensor, targets: torch.Tensor) -> int:
    """Photos whose most probable label is theirs, or one of theirs."""
    predicted = logits.argmax(1)
    if targets.ndim == 2:
        return int((targets.gather(1, predicted[:, None]) > 0).sum())
    return int((predicted == targets).sum())
