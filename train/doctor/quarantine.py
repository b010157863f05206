"""Copies of the files that were left out, for somebody to look at, with a list that says why.

Bounded: the list names all of them, but a broken upload is not stored twice.
"""

import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pages.markup import shown
from train.doctor.examine import Seen

FOLDER = "quarantine"
LIST = "files.jsonl"
MOST_FILES = 200
MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class LeftOut:
    split: str
    position: int
    kind: str
    reason: str


def write(folder: Path, seen: dict[str, Seen], files: Iterable[LeftOut]) -> tuple[int, int]:
    """Returns how many files are listed, and how many of them copied. A folder of an earlier start
    is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    listed = copied = 0
    room = MOST_BYTES
    with (folder / LIST).open("w", encoding="utf-8") as lines:
        for listed, file in enumerate(files, 1):
            copy = None
            if copied < MOST_FILES:
                copy = _copy(folder, listed, seen, file, room)
            if copy is not None:
                copied, room = copied + 1, room - copy.stat().st_size
            lines.write(_line(seen, file, copy) + "\n")
    return listed, copied


def _copy(
    folder: Path, number: int, seen: dict[str, Seen], file: LeftOut, room: int
) -> Path | None:
    index = seen[file.split].index
    # a name of ours: theirs may hold anything, even a way out of the folder
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", index.name(file.position).rpartition("/")[2])[-60:]
    path = folder / f"{number:06d}-{plain.lstrip('.')}"
    try:
        data = index.read(file.position)
    except OSError:  # that it cannot be read is why it is here
        return None
    if len(data) > room:
        return None
    path.write_bytes(data)
    return path


def _line(seen: dict[str, Seen], file: LeftOut, copy: Path | None) -> str:
    index = seen[file.split].index
    return json.dumps({
        "file": f"{index.channel}/{shown(index.name(file.position))}",
        "split": file.split,
        "kind": file.kind,
        "reason": file.reason,
        "copy": copy.name if copy else None,
    })  # fmt: skip
