"""Which photos make which update, and which of them are whose.

Everything follows from the seed and the epoch alone, so that any part of any epoch can be repeated:
with other workers, on another number of processes, or after an interruption.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Spec:
    """One micro-batch: positions in the index, and its place in the update."""

    epoch: int
    step: int
    positions: NDArray[np.int64]
    images: int
    """Images of the whole update that it is a part of."""
    last: bool
    view: int | None = None
    """Which of a photo's kept copies; None for a change that seed, epoch and position draw."""


def micro_sizes(images: int, limit: int) -> list[int]:
    """Near-equal parts of an update, none above `limit` unless that left one image alone: batch
    normalisation cannot learn from one."""
    parts = max(1, min(-(-images // limit), images // 2))
    return [len(part) for part in np.array_split(np.arange(images), parts)]


def schedule_epoch(
    samples: int, batch_size: int, micro: int, seed: int, epoch: int
) -> Iterator[Spec]:
    """All micro-batches of one epoch, in order. The rest after the last full mini-batch is an
    update of its own, unless it is a single image, which joins the one before."""
    order = np.random.default_rng([seed, epoch]).permutation(samples)
    starts = list(range(0, samples, batch_size))
    if batch_size > 1 and len(starts) > 1 and samples - starts[-1] == 1:
        starts.pop()
    for step, start in enumerate(starts):
        end = starts[step + 1] if step + 1 < len(starts) else samples
        images = end - start
        sizes = micro_sizes(images, micro)
        for number, size in enumerate(sizes):
            positions = order[start : start + size]
            yield Spec(epoch, step, positions, images, number == len(sizes) - 1)
            start += size


def steps_per_epoch(samples: int, batch_size: int) -> int:
    full, rest = divmod(samples, batch_size)
    return full + (rest > 1 or (rest == 1 and full == 0))


@dataclass(frozen=True)
class Share:
    """Which photos of every update are this process's: it is `part` of `parts` that have the photos
    of `shard`.

    Where all hosts have the same photos, an update is a single process's, cut in equal parts.
    Where every host has a shard of its own, each spreads its photos evenly over the updates of the
    epoch, so that nobody waits for the larger shards: a host with fewer photos has fewer in every
    update, and each photo counts the same.
    """

    samples: tuple[int, ...]
    """Photos of each shard; one where all hosts have the same."""
    shard: int = 0
    part: int = 0
    parts: int = 1

    @property
    def total(self) -> int:
        return sum(self.samples)

    def steps(self, batch_size: int) -> int:
        return steps_per_epoch(self.total, batch_size)

    def epoch(self, batch_size: int, micro: int, seed: int, epoch: int) -> Iterator[Spec]:
        """This process's micro-batches. Every update has a last one, be it empty: there the
        processes meet."""
        for step, positions, images in self._updates(batch_size, seed, epoch):
            own = _part(positions, self.part, self.parts)
            sizes = micro_sizes(len(own), micro) if len(own) else [0]
            start = 0
            for number, size in enumerate(sizes):
                end = start + size
                yield Spec(epoch, step, own[start:end], images, number == len(sizes) - 1)
                start = end

    def in_order(self, micro: int) -> Iterator[Spec]:
        """This process's part of an evaluation."""
        own = np.array_split(np.arange(self.samples[self.shard]), self.parts)[self.part]
        for step, start in enumerate(range(0, len(own), micro)):
            yield Spec(0, step, own[start : start + micro], self.total, True)

    def _updates(
        self, batch_size: int, seed: int, epoch: int
    ) -> Iterator[tuple[int, NDArray[np.int64], int]]:
        """Step, this shard's positions, and the images of all shards."""
        if len(self.samples) == 1:
            samples = self.total
            for spec in schedule_epoch(samples, batch_size, samples, seed, epoch):
                yield spec.step, spec.positions, spec.images
            return
        steps = self.steps(batch_size)
        cuts = [_cuts(samples, steps) for samples in self.samples]
        images = np.sum([np.diff(each) for each in cuts], axis=0)
        own = cuts[self.shard]
        order = np.random.default_rng([seed, epoch, self.shard]).permutation(own[-1])
        for step in range(steps):
            yield step, order[own[step] : own[step + 1]], int(images[step])


def _part(positions: NDArray[np.int64], part: int, parts: int) -> NDArray[np.int64]:
    """Of at least two photos: batch normalisation cannot learn from one."""
    used = min(parts, max(1, len(positions) // 2))
    return np.array_split(positions, used)[part] if part < used else positions[:0]


def _cuts(samples: int, steps: int) -> NDArray[np.int64]:
    """Where a shard's order is cut: near-equal pieces of at least two, spread over the steps."""
    used = min(steps, max(1, samples // 2))
    step_of_piece = np.arange(used) * steps // used
    pieces = np.zeros(steps, np.int64)
    pieces[step_of_piece] = [len(piece) for piece in np.array_split(np.arange(samples), used)]
    return np.concatenate([[0], np.cumsum(pieces)]).astype(np.int64)
