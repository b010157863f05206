"""One saved tensor, read from its file: its head first, then the values to where they stay.

smdebug's reader copies a tensor four times on the way through its parser, which takes longer than
any rule that looks at it. Whatever is not the plain case here is left to it.
"""

import math
import os
import struct

import numpy as np
from numpy.typing import NDArray

from debugger.reader import masked_crc32c

HEAD_BYTES = 4096
"""Of a record, in which the values begin: names and sizes lie before them."""
PREFIX_BYTES, SUFFIX_BYTES = 12, 4
"""Around the event in a record: its length with a checksum, and a checksum."""
EVENT_SUMMARY, SUMMARY_VALUE, VALUE_TENSOR = 5, 1, 8
TENSOR_DTYPE, TENSOR_SHAPE, TENSOR_CONTENT, SHAPE_DIM, DIM_SIZE = 1, 2, 4, 2, 1
"""Numbers of the fields in TensorFlow's event.proto, summary.proto, tensor.proto and
tensor_shape.proto."""
DTYPES = {
    1: np.float32, 2: np.float64, 3: np.int32, 4: np.uint8, 9: np.int64, 10: np.bool_,
    19: np.float16,
}  # fmt: skip
"""Of types.proto."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class UnusualError(ValueError):
    """Not the plain case."""


def read(path: str, start: int, length: int) -> NDArray[np.generic]:
    """The values of the record that takes `length` bytes from `start` on, as they were saved.

    Raises UnusualError where the record is none, or not one of numbers; OSError.
    """
    with open(path, "rb", buffering=0) as file:
        head = os.pread(file.fileno(), min(length, HEAD_BYTES), start)
        # before memory is taken for what a damaged record claims to hold
        if len(head) < PREFIX_BYTES or os.fstat(file.fileno()).st_size < start + length:
            raise UnusualError
        size, check = struct.unpack("<QI", head[:PREFIX_BYTES])
        if check != masked_crc32c(head[:8]) or PREFIX_BYTES + size + SUFFIX_BYTES != length:
            raise UnusualError
        dtype, shape, at, many = _locate(head)
        count = math.prod(shape)
        if count * dtype.itemsize != many or at + many > PREFIX_BYTES + size:
            raise UnusualError
        values = np.fromfile(file, dtype, count, offset=start + at)
    if len(values) != count:
        raise UnusualError
    return values.reshape(shape)


def _locate(head: bytes) -> tuple[np.dtype[np.generic], list[int], int, int]:
    """Kind and sizes of the record's tensor; where in the record its values are, in bytes."""
    at, end = PREFIX_BYTES, len(head)
    for number in (EVENT_SUMMARY, SUMMARY_VALUE, VALUE_TENSOR):
        at, end = _find(head, at, end, number)
    kind, at = _varint(head, _tag(head, at, TENSOR_DTYPE, VARINT))
    shape_at, shape_end = _find(head, at, end, TENSOR_SHAPE)
    shape = []
    while shape_at < shape_end:
        dim_at, shape_at = _find(head, shape_at, shape_end, SHAPE_DIM)
        size, _ = _varint(head, _tag(head, dim_at, DIM_SIZE, VARINT))
        shape.append(size)
    if kind not in DTYPES:
        raise UnusualError
    at, end = _find(head, shape_end, end, TENSOR_CONTENT)
    return np.dtype(DTYPES[kind]), shape, at, end - at


def _find(head: bytes, at: int, end: int, number: int) -> tuple[int, int]:
    """Where the next field of that number begins and ends; others are passed over."""
    while at < end:
        tag, at = _varint(head, at)
        if tag & 7 == BYTES:
            size, at = _varint(head, at)
            if tag >> 3 == number:
                return at, at + size
            at += size
        elif tag & 7 == VARINT:
            _, at = _varint(head, at)
        elif tag & 7 in (FIXED64, FIXED32):
            at += 8 if tag & 7 == FIXED64 else 4
        else:
            break
    raise UnusualError


def _tag(head: bytes, at: int, number: int, kind: int) -> int:
    tag, at = _varint(head, at)
    if tag != number << 3 | kind:
        raise UnusualError
    return at


def _varint(head: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(head):
            raise UnusualError
        value |= (head[at] & 0x7F) << shift
        at += 1
        if head[at - 1] < 0x80:
            return value, at
    raise UnusualError
