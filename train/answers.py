"""What a network answered for every photo of a split, in bounded memory.

A few numbers are kept of each photo; whole rows of logits only of as many as fit, evenly spread
over the split, which is sorted by class.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from train import surprises
from train.batches import MicroBatch
from train.distributed import Team

LOGITS_BYTES = 16 << 20
"""Whole rows that are kept: 31,000 of 133 classes, 4,000 of 1,000; one number is fitted to them."""

UNKNOWN = -1


class Answers:
    """Called with the logits of each micro-batch; the arrays have one entry per photo seen."""

    def __init__(self, samples: int, classes: int) -> None:
        self.stride = max(1, -(-samples * classes * 4 // LOGITS_BYTES))
        self.seen = self._kept = 0
        self._integers = np.full((3, samples), UNKNOWN, np.int32)
        self._probability = np.zeros(samples, np.float32)
        kept = -(-samples // self.stride)
        self._logits = np.zeros((kept, classes), np.float32)
        self._logits_targets = np.zeros(kept, np.int32)
        self.surprises: surprises.Rows = np.zeros(0, surprises.SURPRISE)
        """Where photos have several labels, which have no single answer to be right or wrong."""

    def __call__(self, logits: torch.Tensor, batch: MicroBatch) -> None:
        rows, targets = logits.float().cpu(), batch.targets.numpy()
        positions = batch.spec.positions
        if len(positions) != len(targets):
            positions = np.full(len(targets), UNKNOWN, np.int64)
        if targets.ndim != 1:
            new = surprises.of(torch.sigmoid(rows).numpy(), targets, positions)
            self.surprises = surprises.most(np.concatenate([self.surprises, new]))
            return
        probability, predicted = torch.softmax(rows, 1).max(1)
        here = slice(self.seen, self.seen + len(targets))
        self._integers[0, here] = positions
        self._integers[1, here] = targets
        self._integers[2, here] = predicted.numpy()
        self._probability[here] = probability.numpy()
        self._keep(rows.numpy(), targets)
        self.seen += len(targets)

    def _keep(self, rows: NDArray[np.float32], targets: NDArray[np.int64]) -> None:
        chosen = np.arange(-self.seen % self.stride, len(targets), self.stride)
        here = slice(self._kept, self._kept + len(chosen))
        self._logits[here], self._logits_targets[here] = rows[chosen], targets[chosen]
        self._kept += len(chosen)

    def take_all(self, team: Team, *, shared: bool) -> None:
        """Those of the whole team, in the order of the ranks. Positions are kept where the photos
        are `shared` by all hosts: elsewhere they are of another host's index."""
        if not shared and team.host:
            self._integers[0] = UNKNOWN
            self.surprises["position"] = UNKNOWN
        self.surprises = surprises.most(np.concatenate(team.gather_arrays(self.surprises)))
        rows, row_targets = self.rows
        own = [self._integers[:, : self.seen].T, self.probability, rows, row_targets]
        integers, self._probability, self._logits, self._logits_targets = (
            np.concatenate(team.gather_arrays(array)) for array in own
        )
        self._integers = np.ascontiguousarray(integers.T)
        self.seen, self._kept = len(self._probability), len(self._logits)

    def __len__(self) -> int:
        return self.seen

    @property
    def positions(self) -> NDArray[np.int32]:
        """In the split's index; UNKNOWN where the source did not tell."""
        return self._integers[0, : self.seen]

    @property
    def targets(self) -> NDArray[np.int32]:
        return self._integers[1, : self.seen]

    @property
    def predicted(self) -> NDArray[np.int32]:
        return self._integers[2, : self.seen]

    @property
    def probability(self) -> NDArray[np.float32]:
        """Of the predicted class, as the network gave it."""
        return self._probability[: self.seen]

    @property
    def rows(self) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Whole logits of every `stride`-th photo, and their targets."""
        return self._logits[: self._kept], self._logits_targets[: self._kept]
