"""What was seen of photos, on disk, so that a restart or the next trial does not look again.

Plain arrays in one `.npz`, sorted by the hash of the photo's name. A file that is damaged, or of
another version, counts as none: it is made anew.
"""

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artifact.archive import sync
from train import staging
from train.doctor.look import BAD, FACTS, Facts

VERSION = 1
MOST_PHOTOS = 4_000_000
"""Photos that one file remembers: 250 MB."""
KEPT_BYTES = 1 << 30
"""Of files of other lists of photos that stay in the folder: each host has one of its shard."""

Reasons = dict[int, str]
"""Hash of a name -> why that photo cannot be used."""


class Memory:
    def __init__(self, facts: Facts, reasons: Reasons) -> None:
        self.facts, self.reasons = facts, reasons

    @classmethod
    def empty(cls) -> "Memory":
        return cls(np.zeros(0, FACTS), {})

    @classmethod
    def load(cls, path: Path) -> "Memory | None":
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                facts, text = file["facts"], bytes(file["reasons"])
            reasons, version = json.loads(text)
            if version != VERSION or facts.dtype != FACTS or facts.ndim != 1:
                return None
            if np.any(facts["name"][1:] < facts["name"][:-1]):
                return None
            return cls(facts, {int(name): str(why) for name, why in reasons.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError,
                zipfile.BadZipFile):  # fmt: skip  # a flipped bit asks for a password, too
            return None

    def save(self, path: Path, outside: Path | None = None) -> None:
        """Whole or not at all; half-written it lies `outside`, if a way leads from there. Raises
        OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps([self.reasons, VERSION]).encode()
        folder = staging.folder(outside, path.parent)
        partial = folder / f".{path.name}.{os.getpid()}.partial"
        try:
            with partial.open("wb") as file:
                np.savez(file, facts=self.facts, reasons=np.frombuffer(text, np.uint8))
            sync(partial)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        finally:
            if folder != path.parent:
                shutil.rmtree(folder, ignore_errors=True)
        _make_room(path)

    def recall(self, names: NDArray[np.uint64]) -> tuple[Facts, NDArray[np.bool_]]:
        """A row per hash of a name, and which of them are remembered."""
        rows = np.zeros(len(names), FACTS)
        rows["name"] = names
        if not len(self.facts):
            return rows, np.zeros(len(names), bool)
        places = np.searchsorted(self.facts["name"], names).clip(max=len(self.facts) - 1)
        known = self.facts["name"][places] == names
        rows[known] = self.facts[places[known]]
        # a reason that is lost cannot be shown, so that photo is looked at again
        for at in np.flatnonzero(known & (rows["flags"] & BAD > 0)):
            known[at] = int(names[at]) in self.reasons
        return rows, known

    def with_more(self, facts: Facts, reasons: Reasons) -> "Memory":
        """Both together, the new row where a photo has two."""
        every = np.concatenate([facts, self.facts[: max(0, MOST_PHOTOS - len(facts))]])
        _, first = np.unique(every["name"], return_index=True)
        every = every[first][:MOST_PHOTOS]
        bad = set(every["name"][every["flags"] & BAD > 0].tolist())
        both = {**self.reasons, **reasons}
        return Memory(every, {name: why for name, why in both.items() if name in bad})


def _make_room(path: Path) -> None:
    """Removes the oldest files beside `path` beyond KEPT_BYTES."""
    others = [(file.stat(), file) for file in path.parent.glob("*.npz") if file != path]
    held = 0
    for stat, file in sorted(others, key=lambda each: each[0].st_mtime_ns, reverse=True):
        held += stat.st_size
        if held > KEPT_BYTES:
            file.unlink(missing_ok=True)
