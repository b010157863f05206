"""The files of a channel, listed once: each listing of a mounted bucket is requests of its own.

Nothing asks for a file's size or time: that would be a request per photo.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from container.failure import ChannelError

LEFT_BEHIND = ("__MACOSX", "__pycache__")
"""Folders that programs leave beside photos."""


@dataclass(frozen=True)
class Folder:
    """File names lie in one text: a Python string for each would take three times the memory."""

    path: Path
    names: bytes
    """Of files, sorted, with a zero byte between two."""
    folders: tuple["Folder", ...] = ()
    outside: frozenset[str] = frozenset()
    """Names in it, of files and folders, that are links to somewhere outside the channel."""

    @property
    def name(self) -> str:
        return self.path.name

    def files(self) -> Iterator[str]:
        return (os.fsdecode(name) for name in self.names.split(b"\0") if name)

    def walk(self, below: str = "", inside: bool = False) -> Iterator[str]:
        """Paths of all files, relative to this folder, those of a folder together; `inside` leaves
        out what is a link to the outside."""
        skipped = self.outside if inside else frozenset()
        yield from (below + name for name in self.files() if name not in skipped)
        for folder in self.folders:
            if folder.name not in skipped:
                yield from folder.walk(f"{below}{folder.name}/", inside)

    def only(self, names: list[str]) -> "Folder":
        """This folder with some of its files only."""
        return replace(self, names=b"\0".join(map(os.fsencode, names)))


def listed(path: Path) -> Folder:
    """Raises ChannelError where `path` is no folder, OSError where one in it may not be read: such
    a folder is no empty one."""
    try:
        return _folder(path, os.path.realpath(path), frozenset())
    except NotADirectoryError as error:
        raise ChannelError(f"{error.filename} is not a folder") from error


def _folder(path: Path, root: str, above: frozenset[str]) -> Folder:
    """`above`: where the folders around this one really are, for links may lead in circles."""
    files: list[bytes] = []
    folders: list[str] = []
    outside: list[str] = []
    here = above | {os.path.realpath(path)}
    with os.scandir(path) as entries:
        for entry in entries:
            hidden = entry.name.startswith(".")
            if hidden:
                continue
            real = os.path.realpath(entry.path) if entry.is_symlink() else None
            if real is not None and not f"{real}/".startswith(f"{root.rstrip('/')}/"):
                outside.append(entry.name)
            if not entry.is_dir():
                files.append(os.fsencode(entry.name))
            elif entry.name not in LEFT_BEHIND and real not in here:
                folders.append(entry.name)
    return Folder(
        path,
        b"\0".join(sorted(files)),
        tuple(_folder(path / name, root, here) for name in sorted(folders)),
        frozenset(outside),
    )


class Known:
    """Which paths a channel has, in eight bytes each: by Python's hash, which no author knows."""

    def __init__(self, folder: Folder) -> None:
        hashes = np.fromiter(map(hash, folder.walk(inside=True)), np.int64)
        self._sorted: NDArray[np.int64] = np.sort(hashes)

    def __contains__(self, path: str) -> bool:
        wanted = hash(path)
        at = int(np.searchsorted(self._sorted, wanted))
        return at < len(self._sorted) and bool(self._sorted[at] == wanted)
