"""The reference image: made in code, never a user's photo. An engine that is up classified it."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FLOAT_TOLERANCE = 0.01
HALF_TOLERANCE = 0.05
"""Smallest tolerances recorded: float32 kernels of two processors differ in the last bits, bfloat16
has 8 bits of precision, and int8 answers differ with how a processor sums them up."""


def png() -> bytes:
    """A 320 x 240 PNG with gradients, edges and texture, the same bytes of pixels everywhere."""
    height, width = 240, 320
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = columns * 255 // (width - 1)
    image[..., 1] = rows * 255 // (height - 1)
    image[..., 2] = (columns * rows) % 256
    disc = (rows - 110) ** 2 + (columns - 180) ** 2 < 70**2
    image[disc] = 255 - image[disc]
    image[((rows // 16 + columns // 16) % 2 == 0) & (rows > 160)] = (230, 200, 40)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def distance(answer: NDArray[np.float32], expected: list[float]) -> float:
    """Largest difference of one probability; infinite where the answer is not a distribution."""
    if answer.shape != (len(expected),) or not np.isfinite(answer).all():
        return float("inf")
    return float(np.abs(answer - np.asarray(expected, np.float32)).max())


def tolerance(precision: str, seen: float) -> float:
    floor = FLOAT_TOLERANCE if precision == "float32" else HALF_TOLERANCE
    return max(floor, 4 * seen)
