"""Photos that lie inside larger files: where they begin, and how they are read.

Reading names its place (`pread`), so that threads and forked processes share a file's handle,
and any worker reads any photo: the order of an epoch does not depend on which file a photo lies in.
"""

import errno
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from train.sources import recordio

OPEN_FILES = 64
"""Handles that one process keeps open."""

Form = Literal["plain", "record", "image record"]
"""Photos as they are; in a RecordIO frame; in one and behind an image record's header."""


@dataclass(frozen=True)
class Pieces:
    files: tuple[str, ...]
    """Relative to the index's root."""
    form: Form
    file: NDArray[np.int32]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]

    def take(self, positions: NDArray[np.int64]) -> "Pieces":
        return replace(
            self,
            file=self.file[positions],
            offset=self.offset[positions],
            length=self.length[positions],
        )

    def below(self, prefix: str) -> "Pieces":
        """The same, named from a folder above."""
        return replace(self, files=tuple(f"{prefix}/{file}" for file in self.files))

    def joined(self, other: "Pieces") -> "Pieces":
        """Those of both, which have one form."""
        return replace(
            self,
            files=self.files + other.files,
            file=np.concatenate([self.file, other.file + np.int32(len(self.files))]),
            offset=np.concatenate([self.offset, other.offset]),
            length=np.concatenate([self.length, other.length]),
        )

    def path(self, position: int) -> str:
        return self.files[int(self.file[position])]

    def name(self, position: int, inner: str) -> str:
        """Of a photo with the name `inner` in its file; records need not have one of their own."""
        place = "" if self.form == "plain" else f"@{self.offset[position]}"
        return f"{self.path(position)}/{inner}{place}"

    def time(self, root: Path, position: int) -> int:
        """When the file that holds the photo was changed, in nanoseconds."""
        return os.fstat(_opened(str(root / self.path(position))).descriptor).st_mtime_ns

    def read(self, root: Path, position: int) -> bytes:
        path = root / self.path(position)
        data = read_at(path, int(self.offset[position]), int(self.length[position]))
        if self.form == "plain":
            return data
        try:
            return recordio.payload(data) if self.form == "record" else recordio.photo(data)
        except recordio.RecordError as error:  # it was whole when it was listed
            raise OSError(errno.EIO, f"changed since it was listed: {error}", str(path)) from error


def read_at(path: Path, offset: int, length: int) -> bytes:
    """Exactly `length` bytes. Raises OSError where the file has fewer."""
    handle = _opened(str(path))
    parts = []
    while length:
        part = os.pread(handle.descriptor, length, offset)
        if not part:
            raise OSError(errno.EIO, f"the file ends at byte {offset}", str(path))
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return b"".join(parts)


class _Handle:
    """Closed when nobody uses it any more: a thread may still read what the cache has let go."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


@lru_cache(maxsize=OPEN_FILES)
def _opened(path: str) -> _Handle:
    return _Handle(path)
