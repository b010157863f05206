"""RecordIO frames and the image records of the built-in algorithms inside them; bytes only.

A frame is the magic number, a word whose upper 3 bits tell parts of a record and whose lower 29
bits are a length, the bytes, and zeros up to a multiple of 4. A writer cuts a record where it
happens to hold the magic number, and leaves that out; so a reader puts it between the parts.
"""

import struct
from dataclasses import dataclass

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
FRAME = struct.Struct("<II")
IMAGE = struct.Struct("<IfQQ")
"""Of an image record: number of labels that follow (0: the one here), label, id, second id."""

WHOLE, FIRST, MIDDLE, LAST = range(4)
LENGTH_BITS = 29
MOST_LABELS = 65_536


class RecordError(ValueError):
    """The bytes are no record; says what they are instead."""


@dataclass(frozen=True)
class Header:
    """Of one image record."""

    labels: tuple[float, ...]
    several: bool
    """Whether the labels came as a list."""
    number: int
    size: int
    """Bytes before the photo."""


def frame(data: bytes) -> tuple[int, int]:
    """The part and the length that the first 8 bytes tell. Raises RecordError."""
    if len(data) < FRAME.size:
        raise RecordError(f"the file ends after {len(data)} of a frame's {FRAME.size} bytes")
    magic, word = FRAME.unpack_from(data)
    if magic != MAGIC:
        raise RecordError(f"{data[:4]!r} where a record's magic number should be")
    part, length = word >> LENGTH_BITS, word & ((1 << LENGTH_BITS) - 1)
    if part > LAST:
        raise RecordError(f"a record's part is {part}, and can only be 0 to 3")
    return part, length


def padded(length: int) -> int:
    return -(-length // 4) * 4


def payload(framed: bytes) -> bytes:
    """What one record holds, of one frame or several. Raises RecordError."""
    parts: list[bytes] = []
    at = 0
    while True:
        part, length = frame(framed[at : at + FRAME.size])
        if (part in (WHOLE, FIRST)) != (not parts):
            raise RecordError(f"part {part} of a record is out of order")
        start = at + FRAME.size
        if start + length > len(framed):
            raise RecordError(f"a frame of {length} bytes has {len(framed) - start}")
        parts.append(framed[start : start + length])
        at = start + padded(length)
        if part in (WHOLE, LAST):
            return MAGIC_BYTES.join(parts)


def header(data: bytes) -> Header:
    """Of the image record that begins with `data`. Raises RecordError."""
    if len(data) < IMAGE.size:
        raise RecordError(f"{len(data)} bytes are too few for an image record")
    count, label, number, _ = IMAGE.unpack_from(data)
    if count > MOST_LABELS:
        raise RecordError(f"{count} labels; at most {MOST_LABELS} can be")
    size = IMAGE.size + 4 * count
    if len(data) < size:
        raise RecordError(f"{count} labels take {size} bytes, and there are {len(data)}")
    labels = struct.unpack_from(f"<{count}f", data, IMAGE.size) if count else (label,)
    return Header(labels, count > 0, number, size)


def photo(framed: bytes) -> bytes:
    """The photo in a framed image record. Raises RecordError."""
    data = payload(framed)
    return data[header(data).size :]
