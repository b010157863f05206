"""The `.npy` format, read without trust: no pickle, no evaluation, nothing allocated.

The header's shape and type must account for every byte of the body before an array is made of it.
"""

import io
import math
import re

import numpy as np
from numpy.typing import NDArray

from serve.refusal import PayloadError

MAGIC = b"\x93NUMPY"
TYPES = ("u1", "f2", "f4", "f8")
MAX_HEADER_BYTES = 4096
MAX_DIMENSIONS = 4

ASK = "send numpy.save() of float32 Nx3xHxW (normalised) or of uint8 HxWx3 or NxHxWx3"


def read(body: bytes) -> NDArray[np.generic]:
    """A read-only array over the bytes of `body`. Raises PayloadError."""
    text, start = _header(body)
    kind = _field(text, "descr", r"'([<>|=]?[a-zA-Z]\d{1,4})'")
    order = _field(text, "fortran_order", r"(True|False)")
    numbers = _field(text, "shape", r"\(([\d, ]*)\)")
    if kind.lstrip("<>|=") not in TYPES:
        raise PayloadError(f".npy of type {kind!r} is not taken; {ASK}")
    shape = tuple(int(number) for number in re.findall(r"\d+", numbers))
    if len(shape) > MAX_DIMENSIONS:
        raise PayloadError(f".npy with {len(shape)} dimensions is not taken; {ASK}")
    dtype = np.dtype(kind)
    declared, received = math.prod(shape) * dtype.itemsize, len(body) - start
    if declared != received:
        raise PayloadError(
            f".npy header declares {declared} bytes of shape {shape}, {received} follow"
        )
    flat = np.frombuffer(body, dtype, offset=start)
    return flat.reshape(shape, order="F" if order == "True" else "C")


def _header(body: bytes) -> tuple[str, int]:
    """The header's text and the place of the first byte behind it."""
    if not body.startswith(MAGIC):
        raise PayloadError(f"{len(body)} bytes that start with {body[:8]!r} are no .npy; {ASK}")
    version = body[6:7]
    width = {b"\x01": 2, b"\x02": 4, b"\x03": 4}.get(version)
    if width is None or len(body) < 8 + width:
        raise PayloadError(f".npy version {version!r} is not known, or the header is cut short")
    length = int.from_bytes(body[8 : 8 + width], "little")
    start = 8 + width + length
    if length > MAX_HEADER_BYTES or start > len(body):
        raise PayloadError(f".npy header of {length} bytes is too long, or cut short")
    return body[8 + width : start].decode("latin-1"), start


def _field(text: str, name: str, pattern: str) -> str:
    found = re.search(rf"""['"]{name}['"]\s*:\s*{pattern}""", text)
    if not found:
        raise PayloadError(f".npy header without a plain {name!r}; {ASK}")
    return found[1]


def write(array: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
