"""Tar shards: `key.jpg` beside `key.cls`, `key.txt` or `key.json`, as in webdataset; or photos in
one folder per class.

An archive's headers are read once, and then any photo by its place. A compressed archive has no
places: all before a photo would be unpacked for it.
"""

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from artifact.preprocess import EXTENSIONS
from container.failure import DataError
from train.sources.left_out import LeftOut
from train.sources.problems import Problems
from train.sources.request import Request
from train.sources.samples import LabelError, Listed, Samples, label
from train.sources.tar_header import CheckedHeader
from train.sources.values import of_json, text

SUFFIXES = ("cls", "json", "txt")
"""Of labels; the first that is there counts."""
FIELDS = ("label", "labels", "class", "cls", "class_name")
"""Of the object in a `.json`."""
LARGEST_LABEL = 65_536
"""Bytes of a label's member."""
BLOCK = 512
DAMAGED = (tarfile.TarError, ValueError, OverflowError, EOFError, IndexError, RecursionError)
"""What comes out of `tarfile` for archives that are none."""
COMPRESSED = {
    rb"\x1f\x8b": "gzip", rb"BZh[1-9]1AY&SY": "bzip2", rb"\xfd7zXZ\0": "xz",
    rb"\x28\xb5\x2f\xfd": "zstandard",
}  # fmt: skip
"""First bytes, as patterns: a folder may be named `BZ`."""
FIX = "make the archive again, or copy it again: it may have been cut off"
LABELS_FIX = (
    "put `key.cls`, `key.txt` or `key.json` right beside each `key.jpg`, or the photos into one "
    "folder per class"
)


@dataclass
class Group:
    """The members of one key, which stand together."""

    key: str
    photos: list[tuple[str, int, int]] = field(default_factory=list)
    """Name, offset, bytes."""
    labels: dict[str, bytes] = field(default_factory=dict)
    """What is in its labels' members, by suffix."""


def read(request: Request) -> Listed:
    """Raises DataError."""
    samples = Samples(request.split, request.folder.path, request.files, "plain")
    in_folders = not any(_labelled(request.folder.path / name) for name in request.files)
    problems = Problems()
    left_out = LeftOut()
    for file, name in enumerate(request.files):
        for group in groups(request.folder.path / name, left_out):
            try:
                for photo, offset, length in group.photos:
                    labels = _folder(photo) if in_folders else _beside(samples, group, request)
                    samples.add(photo, labels, (file, offset, length))
            except LabelError as error:
                problems.add(f"{name}/{group.key}", error)
    problems.check(f"{request.split} archives", LABELS_FIX)
    if not len(samples):
        raise DataError(f"{request.split}: {', '.join(request.files[:5])}: no photos", LABELS_FIX)
    left_out.tell(request.notes, request.split, "links and files that are no photos left out")
    return samples.listed(request.names)


def _labelled(path: Path) -> bool:
    """Whether the archive's first photo has a label beside it: the rest must then have one too."""
    members = groups(path, LeftOut())
    return next((bool(group.labels) for group in members if group.photos), False)


def groups(path: Path, left_out: LeftOut) -> Iterator[Group]:
    """Members that follow each other under one key. Photos that are links, and files of other
    kinds, go into `left_out`. Raises DataError."""
    group = Group("")
    for member, data in _members(path, left_out):
        key, suffix = _key(member.name)
        if key != group.key:
            yield group
            group = Group(key)
        if data is not None:
            group.labels[suffix] = data
        else:
            group.photos.append((member.name, member.offset_data, member.size))
    yield group


def _members(path: Path, left_out: LeftOut) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
    """Photos, and labels with their bytes. Raises DataError."""
    _refuse_compressed(path)
    try:
        with tarfile.open(path, "r:", tarinfo=CheckedHeader) as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # a kilobyte each is kept
                _, suffix = _key(member.name)
                hidden = PurePosixPath(member.name).name.startswith(".")
                if hidden or member.isdir() or "__MACOSX" in member.name:
                    continue
                if member.isreg() and member.name.lower().endswith(EXTENSIONS):
                    yield member, None
                elif member.isreg() and suffix in SUFFIXES and member.size <= LARGEST_LABEL:
                    file = archive.extractfile(member)
                    yield member, file.read() if file else b""
                else:
                    left_out.add(f"{path.name}/{member.name}")
            _check_end(path, archive.offset)
    except DAMAGED as error:
        raise DataError(f"{path.name} is a damaged archive: {error}", FIX) from error


def _check_end(path: Path, at: int) -> None:
    """`tarfile` takes whatever it cannot read for the end. Raises DataError."""
    with path.open("rb") as file:
        file.seek(at)
        block = file.read(BLOCK)
    if block.strip(b"\0"):
        raise DataError(f"{path.name} is a damaged archive: no header at byte {at}", FIX)


def _refuse_compressed(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(10)
    kind = next((kind for first, kind in COMPRESSED.items() if re.match(first, start)), None)
    if kind:
        raise DataError(
            f"{path.name} is compressed ({kind}), so that no photo in it has a place of its own",
            "unpack it to a plain .tar: photos are compressed already",
        )


def _key(name: str) -> tuple[str, str]:
    """webdataset's: up to the first point of the last part, and what follows that."""
    folder, slash, file = name.rpartition("/")
    stem, _, suffix = file.partition(".")
    return f"{folder}{slash}{stem}", suffix.lower()


def _folder(photo: str) -> list[str]:
    parent = PurePosixPath(photo).parent.name
    if not parent:
        raise LabelError("no label beside it, and no folder around it")
    return [label(parent)]


def _beside(samples: Samples, group: Group, request: Request) -> list[str]:
    if len(group.photos) > 1:
        raise LabelError(f"{len(group.photos)} photos under one key")
    suffix = next((each for each in SUFFIXES if each in group.labels), None)
    if suffix is None:
        raise LabelError("no label beside it")
    content = group.labels[suffix].decode("utf-8", "replace").strip()
    if suffix != "json":
        return [text(content)]
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise LabelError(f"no JSON in .json: {error}") from error
    if isinstance(value, dict):
        fields = [name for name in FIELDS if name in value]
        if not fields:
            raise LabelError(f"none of {', '.join(FIELDS)} in .json")
        value = value[fields[0]]
    return of_json(samples, value, request.class_ids)
