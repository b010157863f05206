"""Batches of features: rows of the store in the very order that the photos would have."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from train.batches import MicroBatch
from train.features.store import Rows
from train.index import Index
from train.schedule import Share, Spec

CHUNK_BYTES = 16 << 20
"""Most bytes of rows in memory at a time; the rest stays on disk."""


class FeatureBatches:
    """Fulfils `train.batches.Batches`. `places` has a line per view; -1 is a photo in `bad`."""

    def __init__(
        self,
        index: Index,
        rows: Rows,
        places: NDArray[np.int64],
        bad: dict[int, str],
        dtype: torch.dtype,
        batch_size: int,
        seed: int,
        share: Share,
    ) -> None:
        self.index = index
        self.share = share
        self.batch_size = batch_size
        self._rows, self._places, self._bad = rows, places, bad
        self._dtype, self._seed = dtype, seed
        self._good: NDArray[np.bool_] = np.all(places >= 0, axis=0)
        self.micro = max(2, CHUNK_BYTES // rows.record.itemsize)

    @property
    def steps(self) -> int:
        return self.share.steps(self.batch_size)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[MicroBatch]:
        """Shuffled; each photo in a view that seed and epoch choose."""
        views = self.views(epoch)
        micro = min(self.batch_size, self.micro)
        for spec in self.share.epoch(self.batch_size, micro, self._seed, epoch):
            if spec.step >= first_step:
                yield self._batch(spec, views[spec.positions])

    def in_order(self) -> Iterator[MicroBatch]:
        for spec in self.share.in_order(self.micro):
            yield self._batch(spec, np.zeros_like(spec.positions))

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.float()

    def views(self, epoch: int) -> NDArray[np.int64]:
        """Of every photo, which of its changed copies an epoch trains on."""
        random = np.random.default_rng([self._seed, epoch, 1])
        return random.integers(0, len(self._places), len(self.index))

    def _batch(self, spec: Spec, views: NDArray[np.int64]) -> MicroBatch:
        good = self._good[spec.positions]
        positions = spec.positions[good]
        rows = self._rows.take(self._places[views[good], positions])
        inputs = torch.from_numpy(rows.view(np.int16) if rows.dtype == np.uint16 else rows)
        missing = spec.positions[~good].tolist()
        targets = torch.from_numpy(self.index.targets[positions])
        return MicroBatch(
            replace(spec, positions=positions),
            inputs.view(self._dtype),
            targets if self.index.multi_label else targets.long(),
            [self._bad[position] for position in missing],
            missing,
        )
