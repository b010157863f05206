"""Rows of features on disk: append-only files that are whole or not there, mapped into memory.

A folder per backbone, preprocessing and arithmetic; in it files of records: a photo's id, its row.
A file is written elsewhere and then gets the hash of its content as its name, so that processes
that write at the same time never meet, a killed one leaves whole files behind, and a damaged file
is known by its name.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifact.archive import sha256, sync
from container import resources
from train.content import ID_BYTES
from train.features.photo_ids import Ids
from train.staging import PARTIAL, leads

FORMAT_VERSION = 1
KEY = "key.json"
SUFFIX = ".rows"
SHARE = 0.5
"""Part of the volume's free space that all features together may fill."""

NEWBORN_SECONDS = 60.0
"""A file this young may not have been locked by its writer yet."""


class StoreError(OSError):
    """The features cannot be kept here."""


def record(dtype: str, shape: tuple[int, ...]) -> np.dtype[Any]:
    """numpy has no bfloat16: its bits are kept as whole numbers."""
    kept = "<u2" if dtype == "bfloat16" else np.dtype(dtype).newbyteorder("<")
    return np.dtype([("photo", "u1", (ID_BYTES,)), ("row", kept, shape)])


class Store:
    """The files of one `key`, which says all that the rows depend on besides the photo."""

    def __init__(
        self,
        root: Path,
        key: dict[str, Any],
        record: np.dtype[Any],
        say: Callable[[str], None],
        alive: Callable[[], object] = lambda: None,
        outside: Path | None = None,
    ) -> None:
        """`alive` is called as files are read through: there may be many. `outside` is a folder
        that the platform does not upload, for files half-written; as with checkpoints it is used
        where a rename leads from there to `root`."""
        self.alive = alive
        self.root = root
        self.key = {"format_version": FORMAT_VERSION, **key, "record": record.descr}
        text = json.dumps(self.key, sort_keys=True)
        self.folder = root / hashlib.sha256(text.encode()).hexdigest()[:16]
        self.record = record
        self.say = say
        self._opened: dict[str, NDArray[Any] | None] = {}
        self._outside = outside
        self._staging = self.folder

    def open(self) -> None:
        """Makes the folder, marks it as used now, removes what killed processes left. Raises
        StoreError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / KEY).write_text(json.dumps(self.key, indent=1), encoding="utf-8")
        except OSError as error:
            raise StoreError(f"{self.root} cannot be written: {error.strerror}") from error
        if self._outside is not None and leads(self._outside, self.folder):
            self._staging = self._outside
        for folder in {self.folder, self._staging}:
            for leftover in folder.glob(f"{PARTIAL}*"):
                _remove_if_dead(leftover)

    def close(self) -> None:
        """Nothing more is written by this process."""
        if self._staging != self.folder:
            with contextlib.suppress(OSError):  # there is a file of another process
                self._staging.rmdir()

    def make_room(self, needed: int) -> None:
        """Removes other folders, the one unused for longest first, until `needed` bytes more fit
        into the share. Raises StoreError where they never will."""
        keys = self.root.glob(f"*/{KEY}")
        others = {key.parent: _size(key.parent) for key in keys if key.parent != self.folder}
        used = sum(others.values()) + _size(self.folder)
        limit = int((shutil.disk_usage(self.root).free + used) * SHARE)
        for path in sorted(others, key=_last_use):
            if used + needed <= limit:
                break
            shutil.rmtree(path, ignore_errors=True)
            self.say(f"features: {path} removed, to make room")
            used -= others[path]
        if used + needed > limit:
            raise StoreError(
                f"{self.root} has room for {max(0, limit - used) >> 20} MiB of features, "
                f"{(needed >> 20) + 1} MiB are needed"
            )

    def rows(self) -> "Rows":
        """All whole files, each read through once; a damaged one is named and removed."""
        paths = sorted(self.folder.glob(f"*{SUFFIX}"))
        new = [path for path in paths if path.name not in self._opened]
        with ThreadPoolExecutor(resources.cpu_count()) as pool:
            for path, records in zip(new, pool.map(self._open, new), strict=True):
                self._opened[path.name] = records
                self.alive()
        files = [records for records in self._opened.values() if records is not None]
        return Rows(files, self.record)

    def _open(self, path: Path) -> NDArray[Any] | None:
        try:
            if sha256(path) == path.stem:
                return np.memmap(path, self.record, "r")
            self.say(f"features: {path.name} is damaged; its rows are computed anew")
            path.unlink(missing_ok=True)
        except FileNotFoundError:  # another process made room
            pass
        except (OSError, ValueError) as error:
            self.say(f"features: {path.name} cannot be read and is passed over: {error}")
        return None

    def writer(self) -> "Writer":
        return Writer(self.folder, self._staging, self.record)


class Writer:
    """One file on its way. Raises StoreError where the disk says no."""

    def __init__(self, folder: Path, staging: Path, record: np.dtype[Any]) -> None:
        self.folder, self.record = folder, record
        self.count = 0
        self._digest = hashlib.sha256()
        try:
            handle, name = tempfile.mkstemp(prefix=PARTIAL, dir=staging)
            self._path = Path(name)
            self._file = os.fdopen(handle, "wb")
            fcntl.flock(self._file, fcntl.LOCK_EX)  # tells others that the writer lives
        except OSError as error:
            raise StoreError(f"{folder} cannot be written: {error.strerror}") from error

    def add(self, ids: Ids, rows: NDArray[Any]) -> None:
        records = np.empty(len(ids), self.record)
        records["photo"], records["row"] = ids, rows
        data = records.tobytes()
        try:
            self._file.write(data)
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be written: {error.strerror}") from error
        self._digest.update(data)
        self.count += len(ids)

    def publish(self) -> None:
        """Durable and atomic; a file without a row is no file."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            if self.count:
                self._path.rename(self.folder / f"{self._digest.hexdigest()}{SUFFIX}")
                sync(self.folder)
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be written: {error.strerror}") from error
        finally:
            self.close()

    def close(self) -> None:
        """What was not published is gone."""
        with contextlib.suppress(OSError):  # a full disk says so once more
            self._file.close()
        self._path.unlink(missing_ok=True)


class Rows:
    """Mapped files, as if they were one array: a row's place is its number in all of them."""

    def __init__(self, files: list[NDArray[Any]], record: np.dtype[Any]) -> None:
        self.files = files
        self.record = record["row"]
        self._starts = np.cumsum([0, *map(len, files)])
        ids = [np.ascontiguousarray(records["photo"]) for records in files]
        self._ids = np.concatenate(ids) if ids else np.empty((0, ID_BYTES), np.uint8)
        self._order = np.argsort(_short(self._ids), kind="stable")
        self._sorted = _short(self._ids)[self._order]

    def __len__(self) -> int:
        return int(self._starts[-1])

    def find(self, ids: Ids) -> NDArray[np.int64]:
        """Place of each photo's row, -1 where there is none."""
        if not len(self):
            return np.full(len(ids), -1, np.int64)
        at = np.minimum(np.searchsorted(self._sorted, _short(ids)), len(self) - 1)
        places = self._order[at]
        same = (self._ids[places] == ids).all(1) & ids.any(1)
        return np.where(same, places, -1).astype(np.int64)

    def take(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """The rows at `places`, in that order, copied."""
        taken = np.empty((len(places), *self.record.shape), self.record.base)
        of = np.searchsorted(self._starts, places, side="right") - 1
        for number in np.unique(of):
            here = of == number
            taken[here] = self.files[number]["row"][places[here] - self._starts[number]]
        return taken


def _short(ids: Ids) -> NDArray[np.uint64]:
    """Half of an id, to sort by; the whole is compared afterwards."""
    return np.ascontiguousarray(ids[:, :8]).view(np.uint64).reshape(-1)


def _remove_if_dead(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("rb") as file:
        if time.time() - path.stat().st_mtime > NEWBORN_SECONDS:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its writer lives
            path.unlink()


def _size(folder: Path) -> int:
    total = 0
    for path in folder.glob("*"):
        with contextlib.suppress(OSError):  # another process made room
            total += path.stat().st_size
    return total


def _last_use(folder: Path) -> float:
    try:
        return (folder / KEY).stat().st_mtime
    except OSError:
        return 0.0
