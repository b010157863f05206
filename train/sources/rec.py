"""`.rec` files: image records in RecordIO frames, as the built-in algorithms take them.

A file is gone through once, frame by frame: photos are not read, only where they are.
"""

from collections.abc import Iterator
from pathlib import Path

from container.failure import DataError
from train.pieces import read_at
from train.sources import recordio
from train.sources.recordio import FRAME, IMAGE, RecordError
from train.sources.request import Request
from train.sources.samples import LabelError, Listed, Samples
from train.sources.values import number, several

FIRST_LOOK = FRAME.size + IMAGE.size + 4 * 64
"""Bytes read of each record: the frame, the header, and some labels."""
FIX = "make the file again with im2rec, or copy it again: it may have been cut off"


def read(request: Request) -> Listed:
    """Raises DataError."""
    samples = Samples(request.split, request.folder.path, request.files, "image record")
    for file, name in enumerate(request.files):
        add(samples, file, request.folder.path / name, request.class_ids)
    return samples.listed(request.names)


def add(samples: Samples, file: int, path: Path, class_ids: bool) -> None:
    """Every image record of one file. Raises DataError that names the byte."""
    size = path.stat().st_size
    for offset, length in records(path, size):
        try:
            head = _header(path, offset, length)
            labels = _labels(samples, head, class_ids)
        except (RecordError, LabelError) as error:
            raise DataError(f"{path.name} at byte {offset}: {error}", FIX) from error
        # in the order of their numbers, which is that of the list that the file was made of
        samples.add(f"{head.number:010d}", labels, (file, offset, length))


def records(path: Path, size: int) -> Iterator[tuple[int, int]]:
    """Offset and length of every record, frames and all. Raises DataError."""
    at = start = 0
    inside = False
    while at < size:
        try:
            part, length = recordio.frame(read_at(path, at, min(FRAME.size, size - at)))
            if (part in (recordio.WHOLE, recordio.FIRST)) == inside:
                raise RecordError(f"part {part} of a record is out of order")
            end = at + FRAME.size + recordio.padded(length)
            if end > size:
                raise RecordError(f"{length} bytes should follow, and the file ends at {size}")
        except RecordError as error:
            raise DataError(f"{path.name} at byte {at}: {error}", FIX) from error
        start = at if not inside else start
        at = end
        inside = part in (recordio.FIRST, recordio.MIDDLE)
        if not inside:
            yield start, at - start
    if inside:
        raise DataError(f"{path.name} ends inside the record at byte {start}", FIX)


def _header(path: Path, offset: int, length: int) -> recordio.Header:
    look = read_at(path, offset, min(length, FIRST_LOOK))
    part, first = recordio.frame(look)
    try:
        if part == recordio.WHOLE:
            return recordio.header(look[FRAME.size : FRAME.size + first])
    except RecordError:
        pass  # more labels than the first look holds
    return recordio.header(recordio.payload(read_at(path, offset, length)))


def _labels(samples: Samples, head: recordio.Header, class_ids: bool) -> list[str]:
    single = len(head.labels) == 1 and not class_ids and not samples.several
    if single:
        return [number(head.labels[0])]
    if not samples.several and len(samples):
        raise LabelError(f"{len(head.labels)} labels, and one in the records before")
    samples.several = True
    return several(samples, head.labels, class_ids)
