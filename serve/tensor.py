"""Images that come as numbers: float planes that are normalised already, or bytes of pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from artifact.preprocess import Preprocessing, fit
from serve.refusal import PayloadError, TooLargeError

Array = NDArray[Any]


def check_pixels(height: int, width: int, most: int) -> None:
    """Raises PayloadError for an image of no pixels, TooLargeError for one of more than `most`."""
    if height * width < 1:
        raise PayloadError(f"{height}x{width} pixels: there is no image")
    if height * width > most:
        raise TooLargeError(
            f"{height}x{width} is {height * width:,} pixels; the limit is {most:,}",
            limit=most,
            received=height * width,
        )


def planes(values: Array, size: int, max_pixels: int) -> NDArray[np.float32]:
    """3 x H x W numbers, normalised already -> 3 x `size` x `size` float32. Raises PayloadError."""
    check_pixels(values.shape[1], values.shape[2], max_pixels)
    with np.errstate(over="ignore", invalid="ignore"):  # becomes infinite, refused below
        image = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(image).all():
        raise PayloadError("a number is infinite, not a number, or too large for float32")
    if image.shape[1:] == (size, size):
        return image
    resized = [
        Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR) for plane in image
    ]
    return np.stack([np.asarray(plane, np.float32) for plane in resized])


def pixels(values: Array, preprocessing: Preprocessing, max_pixels: int) -> NDArray[np.uint8]:
    """H x W x 3 uint8 -> what a photo of these pixels becomes. Raises PayloadError."""
    check_pixels(values.shape[0], values.shape[1], max_pixels)
    return fit(Image.fromarray(np.ascontiguousarray(values)), preprocessing)


def from_lists(value: list[Any]) -> Array:
    """Nested lists of JSON -> 3 x H x W float64. Raises PayloadError where they are anything else.

    numpy would turn strings and null into numbers too, so the types are looked at first.
    """
    for row in _rows(value):
        if not set(map(type, row)) <= {int, float}:
            raise PayloadError("a nested list must hold numbers only: 3 x H x W, normalised")
    try:
        return np.array(value, dtype=np.float64)
    except ValueError:
        raise PayloadError("rows of different lengths; expected 3 x H x W numbers") from None
    except OverflowError:
        raise PayloadError("a number is too large for float32") from None


def _rows(value: list[Any]) -> list[list[Any]]:
    if len(value) != 3 or not all(isinstance(plane, list) for plane in value):
        raise PayloadError(
            f"a list of {len(value)} is no image; expected 3 x H x W numbers, normalised"
        )
    rows = [row for plane in value for row in plane]
    if not rows or not all(isinstance(row, list) and row for row in rows):
        raise PayloadError("expected three levels of lists: 3 x H x W numbers, normalised")
    return rows
