"""Pipe mode: photos come once, in a row, through `<channel>_0`, and are kept in a file.

From that file they are read as from any other, in any order: the same accuracy as from folders, for
the price of disk. Later epochs' pipes are left alone.
"""

import atexit
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from io import BufferedWriter, RawIOBase
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from container.failure import ChannelError, DataError, DiskFullError
from container.opt_ml import Channel
from train.pieces import read_at
from train.progress import say
from train.sources import rec, recordio
from train.sources.augmented import Classes
from train.sources.recordio import FRAME
from train.sources.request import Request
from train.sources.samples import LabelError, Listed, Samples
from train.sources.values import of_json

WAIT_SECONDS = 300.0
"""For the pipe to exist: the platform makes it a little after the container has started."""
CHUNK = 1 << 20
KEPT_FREE = 1 << 30
"""Bytes of disk left for checkpoints and the model."""
PHOTO_STARTS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|BM....\0\0\0\0|II\*\0|MM\0\*|GIF8[79]a",
    re.DOTALL,
)
"""Of the formats' own first bytes as many as no label has."""
FIRST_RECORDS = 12
"""Among them is a photo: a few at the start may be damaged."""
MODES = (
    "set RecordWrapperType to RecordIO for an augmented manifest with AttributeNames "
    "source-ref and the label, or to None for .rec files; or read the photos in FastFile mode"
)


def read(request: Request, spooled: Path) -> Listed:
    """The split in a file that `spool` made. Raises ChannelError or DataError."""
    places = rec.records(spooled, spooled.stat().st_size)
    first = next(places, None)
    if first is None:
        raise DataError(f"the pipe of {request.split} was empty", "look at the channel's S3 URI")
    start = recordio.payload(read_at(spooled, *first))
    if start.startswith(recordio.MAGIC_BYTES):
        raise ChannelError(f"{request.split}: each record of the pipe holds a .rec file", MODES)
    if _bare_photos(spooled):
        return _pairs(request, spooled)
    samples = Samples(request.split, spooled.parent, (spooled.name,), "image record")
    rec.add(samples, 0, spooled, request.class_ids)
    return samples.listed(request.names)


def _pairs(request: Request, spooled: Path) -> Listed:
    """Of an augmented manifest: a photo, its label, perhaps the label's metadata, and again."""
    samples = Samples(request.split, spooled.parent, (spooled.name,), "record")
    classes = Classes({})
    width = _attributes(spooled)
    group: list[bytes] = []
    photo = (0, 0)
    for offset, length in rec.records(spooled, spooled.stat().st_size):
        if not group:
            photo = (offset, length)
        # the photo itself is read when it is needed; one that is none is named then
        group.append(recordio.payload(read_at(spooled, offset, length)) if group else b"")
        if len(group) == width:
            _add(samples, classes, photo, group[1:], request)
            group = []
    if group:
        raise DataError(f"the pipe of {request.split} ends after a photo without its label", MODES)
    return samples.listed(classes.names or request.names)


def _first_payloads(spooled: Path) -> Iterator[bytes]:
    places = rec.records(spooled, spooled.stat().st_size)
    return (recordio.payload(read_at(spooled, *place)) for place in islice(places, FIRST_RECORDS))


def _bare_photos(spooled: Path) -> bool:
    """Whether photos are records of their own, and not behind an image record's header."""
    for data in _first_payloads(spooled):
        if PHOTO_STARTS.match(data):
            return True
        try:
            if PHOTO_STARTS.match(data, recordio.header(data).size):
                return False
        except recordio.RecordError:
            continue
    return False


def _attributes(spooled: Path) -> int:
    """Records of one photo: itself, its label, and as many objects of metadata as follow."""
    _, *others = _first_payloads(spooled)
    if not others or PHOTO_STARTS.match(others[0]):
        return 1
    return 2 + sum(1 for _ in takewhile(_is_object, others[1:]))


def _is_object(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        return False


def _add(
    samples: Samples,
    classes: Classes,
    photo: tuple[int, int],
    attributes: list[bytes],
    request: Request,
) -> None:
    """Raises DataError."""
    try:
        if not attributes:
            raise LabelError("photos follow each other without labels")
        texts = [each.decode("utf-8", "replace") for each in attributes]
        others = [_object(text) for text in texts[1:]]
        value = texts[0].strip()
        for metadata in others:
            classes.learn(metadata, value)
        labels = of_json(samples, value, request.class_ids or classes.listed)
    except LabelError as error:
        raise DataError(
            f"the pipe of {request.split}, photo {len(samples)} at byte {photo[0]}: {error}", MODES
        ) from error
    samples.add(f"{len(samples):010d}", labels, (0, *photo))


def _object(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise LabelError(f"{text!r:.60} is neither a photo nor a label's metadata")
    return value


def spool(
    split: str, channel: Channel, wait_seconds: float = WAIT_SECONDS, kept_free: int = KEPT_FREE
) -> Path:
    """The pipe's first epoch, taken into a file. Raises ChannelError or DiskFullError."""
    if int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
        raise ChannelError(
            f"{split}: a pipe has one reader, and this host has several processes",
            "read the photos in FastFile mode",
        )
    path = Path(f"{channel.path}_0")
    _wait(split, path, wait_seconds)
    target = _folder() / f"{split}.rec"
    say(f"{split}: taking the pipe's photos into {target}")
    with path.open("rb", buffering=0) as source, target.open("wb") as file:
        _copy(f"{split} (RecordWrapperType {channel.record_wrapper})", source, file, kept_free)
    say(f"{split}: {target.stat().st_size:,} bytes came through the pipe")
    return target


def _folder() -> Path:
    """On the scratch volume, gone with the process; its workers do not end the same way."""
    folder = Path(tempfile.mkdtemp(prefix="pipe-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _wait(split: str, path: Path, seconds: float) -> None:
    """Raises ChannelError."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            raise ChannelError(
                f"{split}: no pipe {path} after {seconds:.0f} s",
                "TrainingInputMode is Pipe; where photos are given as a folder, it is File",
            )
        time.sleep(0.05)
    if not stat.S_ISFIFO(path.stat().st_mode):
        raise ChannelError(f"{split}: {path} is no pipe", "set TrainingInputMode to File")


def _copy(split: str, pipe: RawIOBase, file: BufferedWriter, kept_free: int) -> None:
    start = b""
    while chunk := pipe.read(CHUNK):
        if len(start) < FRAME.size:
            start = (start + chunk)[: FRAME.size]
            _check_start(split, start)
        free = shutil.disk_usage(file.name).free
        if free < kept_free + len(chunk):
            raise DiskFullError(
                f"{split}: after {file.tell():,} bytes of the pipe {free:,} bytes are free on "
                f"the volume of {file.name}; {kept_free:,} are kept for checkpoints and the model",
                "raise VolumeSizeInGB, or read the photos in FastFile mode, which takes no disk",
            )
        file.write(chunk)


def _check_start(split: str, start: bytes) -> None:
    """Without frames photos run together: nothing tells where one ends. Raises ChannelError."""
    if not recordio.MAGIC_BYTES.startswith(start[:4]):
        raise ChannelError(
            f"{split}: the pipe begins with {start!r}, which is no RecordIO: photos and labels "
            "would run together",
            MODES,
        )
