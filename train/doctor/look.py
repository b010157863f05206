"""One look at one photo: whether it decodes, and what is remembered of it afterwards.

What is remembered is a row of numbers, `FACTS`: a million photos take some tens of megabytes.
"""

import hashlib
import io
import os

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from artifact.preprocess import FORMATS, ORIENTATION, PhotoError, open_photo

FACTS = np.dtype([
    ("name", "u8"),  # hash of channel and name
    ("size", "i8"), ("time", "i8"),  # of the file, -1 where the source has none
    ("content", "u8"),  # hash of the bytes
    ("rows", "u8"), ("columns", "u8"),  # the picture, 128 bits: see `_shape`
    ("colour", "u1", 3),  # its mean
    ("flags", "u2"),
    ("width", "u4"), ("height", "u4"),
])  # fmt: skip

Facts = NDArray[np.void]

LOOKED, BAD, FLAT = 1, 2, 4
"""Bits of `flags`. A flat picture has too little in it to be told from others like it."""

ODD = {
    8: "the extension names another format",
    16: "CMYK, converted to RGB",
    32: "a palette, converted to RGB",
    64: "16 bits a pixel, scaled to 8",
    128: "turned upright by its EXIF tag",
    256: "several frames or pages, the first is used",
}
"""Bits of `flags` for photos that train well, yet may not look as their owner thinks."""

EXTENSIONS = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"), "MPO": ("jpg", "jpeg", "jpe", "jfif", "mpo"),
    "PNG": ("png",), "WEBP": ("webp",), "BMP": ("bmp",), "TIFF": ("tif", "tiff"),
}  # fmt: skip

GRID = 9
"""Side of the picture that two photos are compared by: 8 x 8 steps between 9 x 9 cells."""
VISIBLE = 3
"""Grey levels between neighbouring cells that outlive another size and another JPEG quality."""
TEXTURED = 32
"""Steps out of 128 that must be visible, or the picture is flat."""

REASON_CHARACTERS = 200


def key(channel: str, name: str) -> int:
    return digest(f"{channel}/{name}".encode("utf-8", "surrogateescape"))


def digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def look(data: bytes, name: str) -> tuple[Facts, str | None]:
    """One row of FACTS, its `name`, `size` and `time` left 0; and why the photo cannot be used."""
    row = np.zeros((), FACTS)
    row["content"], row["flags"] = digest(data), LOOKED
    try:
        # 1/8 of a JPEG decodes fastest, still reads the file to its end, and leaves the grid enough
        image = open_photo(data, shortest=2 * GRID)
    except PhotoError as error:
        row["flags"] |= BAD
        return row, str(error)[:REASON_CHARACTERS]
    with Image.open(io.BytesIO(data), formats=FORMATS) as header:
        row["width"], row["height"] = header.size
        row["flags"] |= _odd(header, name)
    row["rows"], row["columns"], textured = _shape(image)
    row["flags"] |= 0 if textured else FLAT
    row["colour"] = np.asarray(image.resize((1, 1), Image.Resampling.BOX))[0, 0]
    return row, None


def _odd(header: Image.Image, name: str) -> int:
    """The bits of ODD that the photo's header shows."""
    extension = os.path.splitext(name)[1].lower().removeprefix(".")
    seen = (
        bool(extension) and extension not in EXTENSIONS.get(header.format or "", (extension,)),
        header.mode == "CMYK",
        header.mode == "P",
        header.mode.startswith("I;16"),
        _turned(header),
        # a phone's JPEG may carry a second picture for depth: that is no animation
        header.format not in ("MPO", "JPEG") and getattr(header, "n_frames", 1) > 1,
    )
    return sum(bit for bit, true in zip(ODD, seen, strict=True) if true)


def _turned(header: Image.Image) -> bool:
    try:
        return bool(header.getexif().get(ORIENTATION, 1) != 1)
    except Exception:  # a broken EXIF block says nothing about the pixels
        return False


def _shape(image: Image.Image) -> tuple[np.uint64, np.uint64, bool]:
    """Whether each of 9 x 9 grey cells is brighter than its left and its upper neighbour: 64 bits
    each (Krawetz's dHash, in both directions), the same at any size; and whether that says much."""
    small = image.convert("L").resize((GRID, GRID), Image.Resampling.BOX)
    grid = np.asarray(small).astype(np.int16)
    across, down = np.diff(grid, axis=1)[:-1], np.diff(grid, axis=0)[:, :-1]
    visible = (np.abs(across) >= VISIBLE).sum() + (np.abs(down) >= VISIBLE).sum()
    return _bits(across > 0), _bits(down > 0), bool(visible >= TEXTURED)


def _bits(steps: NDArray[np.bool_]) -> np.uint64:
    return np.uint64(np.packbits(steps).view(np.uint64)[0])
