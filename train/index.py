"""The samples of one split: names and targets, a few bytes each, whatever the number of photos."""

import os
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from container.failure import DataError
from train.pieces import Pieces

GATHERED = 65_536
"""Names that are gathered at a time: places of single bytes take eight times the names' memory."""

Targets = NDArray[np.int32] | NDArray[np.uint8]


@dataclass(frozen=True)
class Index:
    """`names` holds the relative paths one after the other: a million Python strings would take ten
    times the memory, and every worker process would copy them as it counts references."""

    channel: str
    root: Path
    names: NDArray[np.uint8]
    ends: NDArray[np.int64]
    targets: Targets
    """The class of each sample; or samples x classes of 0 and 1, where they may have several."""
    pieces: Pieces | None = None
    """Where the photos lie, if not each in a file of its own."""
    sharded: bool = False
    """Whether every host of the job has photos of its own."""

    @classmethod
    def of(cls, channel: str, root: Path, samples: Iterable[tuple[str, int]]) -> "Index":
        names, ends, targets = bytearray(), array("q"), array("i")
        for name, target in samples:
            names += name.encode("utf-8", "surrogateescape")
            ends.append(len(names))
            targets.append(target)
        return cls(
            channel,
            root,
            np.frombuffer(names, np.uint8),
            np.frombuffer(ends, np.int64),
            np.frombuffer(targets, np.int32),
        )

    @property
    def multi_label(self) -> bool:
        return self.targets.ndim == 2

    def __len__(self) -> int:
        return len(self.targets)

    def name(self, position: int) -> str:
        """Path relative to the channel, `class/photo.jpg`, or `photos.tar/class/photo.jpg`."""
        inner = self.raw_name(position).decode("utf-8", "surrogateescape")
        return self.pieces.name(position, inner) if self.pieces else inner

    def raw_name(self, position: int) -> bytes:
        start = int(self.ends[position - 1]) if position else 0
        return self.names[start : int(self.ends[position])].tobytes()

    def read(self, position: int) -> bytes:
        if self.pieces:
            return self.pieces.read(self.root, position)
        return (self.root / self.name(position)).read_bytes()

    def read_stamped(self, position: int) -> tuple[bytes, tuple[int, int]]:
        """With the stamp of what was read: an open file is asked without a request of its own."""
        if self.pieces:
            data = self.pieces.read(self.root, position)
            return data, (int(self.pieces.length[position]), self.pieces.time(self.root, position))
        with (self.root / self.name(position)).open("rb", buffering=0) as file:
            stat = os.fstat(file.fileno())
            return file.readall(), (stat.st_size, stat.st_mtime_ns)

    def stamp(self, position: int) -> tuple[int, int]:
        """Bytes and time of change in nanoseconds: others mean another photo."""
        path = self.pieces.path(position) if self.pieces else self.name(position)
        stat = (self.root / path).stat()
        size = int(self.pieces.length[position]) if self.pieces else stat.st_size
        return size, stat.st_mtime_ns

    def take(self, positions: NDArray[np.int64]) -> "Index":
        """The samples at `positions`, in that order."""
        names, ends = _gather(self.names, self.ends, positions)
        pieces = self.pieces.take(positions) if self.pieces else None
        return replace(self, names=names, ends=ends, targets=self.targets[positions], pieces=pieces)

    def members(self, label: int) -> NDArray[np.int64]:
        """Positions of the samples of class `label`, or that have it among others."""
        has = self.targets[:, label] == 1 if self.multi_label else self.targets == label
        return np.flatnonzero(has)

    def counts(self, classes: int) -> NDArray[np.int64]:
        """Samples of each class."""
        if self.multi_label:
            return np.asarray(self.targets.sum(0, dtype=np.int64))
        return np.bincount(self.targets, minlength=classes).astype(np.int64)


def _gather(
    names: NDArray[np.uint8], ends: NDArray[np.int64], positions: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The names at `positions` one after the other, and where they end."""
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if len(ends) else ends
    lengths = (ends - starts)[positions]
    new_ends = np.cumsum(lengths)
    gathered = np.empty(int(lengths.sum()), np.uint8)
    for first in range(0, len(positions), GATHERED):
        part = slice(first, first + GATHERED)
        size = lengths[part]
        before = new_ends[part] - size
        places = np.arange(size.sum()) + np.repeat(
            starts[positions[part]] - before + before[0], size
        )
        gathered[before[0] : before[0] + len(places)] = names[places]
    return gathered, new_ends


def joined(first: Index, second: Index) -> Index:
    """The samples of both, under the folder that holds both. Raises DataError where one of them has
    its photos in larger files and the other has not."""
    if (first.pieces is None) != (second.pieces is None) or (
        first.pieces and second.pieces and first.pieces.form != second.pieces.form
    ):
        raise DataError(
            f"{first.channel} and {second.channel} cannot be joined: one has a photo a file, the "
            "other has not",
            "give both in one format, or set train_on_validation=false",
        )
    root = Path(os.path.commonpath([first.root, second.root]))
    parts = [_below(root, index) for index in (first, second)]
    pieces = None
    if parts[0].pieces and parts[1].pieces:
        pieces = parts[0].pieces.joined(parts[1].pieces)
    return replace(
        parts[0],
        names=np.concatenate([part.names for part in parts]),
        ends=np.concatenate([parts[0].ends, parts[1].ends + len(parts[0].names)]),
        targets=np.concatenate([part.targets for part in parts]),
        pieces=pieces,
    )


def _below(root: Path, index: Index) -> Index:
    """The same photos, named from a folder above."""
    prefix = index.root.relative_to(root).as_posix()
    if prefix == ".":
        return replace(index, root=root)
    if index.pieces:
        return replace(index, root=root, pieces=index.pieces.below(prefix))
    start, length = prefix.encode("utf-8", "surrogateescape") + b"/", len(index)
    names, ends = bytearray(), array("q")
    for position in range(length):
        names += start + index.raw_name(position)
        ends.append(len(names))
    return replace(
        index, root=root, names=np.frombuffer(names, np.uint8), ends=np.frombuffer(ends, np.int64)
    )


def stratified(
    targets: Targets, fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions in two parts, `fraction` of every class in the first; a class of at least two
    samples has one in each part. Sorted, so that files are still read in order. A sample of several
    classes counts for its rarest, and every class has at least one in the first part."""
    random = np.random.default_rng(seed)
    groups = _rarest(np.asarray(targets, np.uint8)) if targets.ndim == 2 else targets
    chosen = np.zeros(len(targets), np.bool_)
    for group in np.unique(groups):
        members = random.permutation(np.flatnonzero(groups == group))
        count = round(len(members) * fraction)
        count = min(max(count, 1), max(len(members) - 1, 1)) if fraction < 1 else len(members)
        chosen[members[:count]] = True
    if targets.ndim == 2:
        for column in targets.T:
            if column.any() and not column[chosen].any():
                chosen[np.flatnonzero(column)[0]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def _rarest(rows: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Of each sample's classes the one with the fewest samples; their number for none."""
    by_count = np.argsort(rows.sum(0, dtype=np.int64), kind="stable").astype(np.int32)
    groups = np.full(len(rows), len(by_count), np.int32)
    for label in by_count[::-1]:  # the rarest is written last
        groups[rows[:, label] == 1] = label
    return groups
