"""The samples of one split: paths and targets, a few bytes each, whatever the number of photos."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Index:
    """`names` holds the relative paths one after the other: a million Python strings would take ten
    times the memory, and every worker process would copy them as it counts references."""

    channel: str
    root: Path
    names: NDArray[np.uint8]
    ends: NDArray[np.int64]
    targets: NDArray[np.int32] | NDArray[np.uint8]
    """The class of each sample; or samples x classes of 0 and 1, where they may have several."""

    @classmethod
    def of(cls, channel: str, root: Path, samples: Iterable[tuple[str, int]]) -> "Index":
        names = bytearray()
        ends: list[int] = []
        targets: list[int] = []
        for name, target in samples:
            names += name.encode("utf-8", "surrogateescape")
            ends.append(len(names))
            targets.append(target)
        return cls(
            channel,
            root,
            np.frombuffer(bytes(names), np.uint8),
            np.asarray(ends, np.int64),
            np.asarray(targets, np.int32),
        )

    @property
    def multi_label(self) -> bool:
        return self.targets.ndim == 2

    def __len__(self) -> int:
        return len(self.targets)

    def name(self, position: int) -> str:
        """Path relative to the channel, `class/photo.jpg`."""
        start = int(self.ends[position - 1]) if position else 0
        raw = self.names[start : int(self.ends[position])].tobytes()
        return raw.decode("utf-8", "surrogateescape")

    def read(self, position: int) -> bytes:
        return (self.root / self.name(position)).read_bytes()

    def stamp(self, position: int) -> tuple[int, int]:
        """Bytes and time of change in nanoseconds: others mean another photo."""
        stat = (self.root / self.name(position)).stat()
        return stat.st_size, stat.st_mtime_ns

    def take(self, positions: NDArray[np.int64]) -> "Index":
        """The samples at `positions`, in that order."""
        named = Index.of(self.channel, self.root, ((self.name(int(at)), 0) for at in positions))
        return replace(named, targets=self.targets[positions])

    def counts(self, classes: int) -> NDArray[np.int64]:
        """Samples of each class."""
        if self.multi_label:
            return np.asarray(self.targets.sum(0, dtype=np.int64))
        return np.bincount(self.targets, minlength=classes).astype(np.int64)


def shown(name: str) -> str:
    """A name for the log and for JSON: line ends, control characters and bytes that are no UTF-8,
    all of which a file system allows, as escapes."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def stratified(
    targets: NDArray[np.int32] | NDArray[np.uint8], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions in two parts, `fraction` of every class in the first; a class of at least two
    samples has one in each part. Sorted, so that files are still read in order."""
    random = np.random.default_rng(seed)
    first: list[NDArray[np.int64]] = []
    second: list[NDArray[np.int64]] = []
    for target in np.unique(targets):
        members = random.permutation(np.flatnonzero(targets == target))
        count = round(len(members) * fraction)
        count = min(max(count, 1), max(len(members) - 1, 1)) if fraction < 1 else len(members)
        first.append(members[:count])
        second.append(members[count:])
    return np.sort(np.concatenate(first)), np.sort(np.concatenate(second))
