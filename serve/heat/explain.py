"""Images -> their probabilities and heat: maps out of the engine where its network has them, else
by covering parts of the photo.

The engine answers an image that asks for its map with a longer row: the probabilities, then the
map. One whose network has no maps answers with the probabilities alone, and costs nothing more.
"""

import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from serve.heat import occlusion
from serve.heat.asked import Asked
from serve.heat.grid import ACTIVATION, OCCLUSION, Heat, scaled
from serve.heat.occlusion import Pixels
from serve.refusal import PayloadError

Row = NDArray[np.float32]
Classify = Callable[[list[Pixels], int | None], list[Row | PayloadError]]
"""Images of one request, and the label to map or None -> rows in their order."""

AT_A_TIME = 32
"""Covered photos that wait for the engine together: others get in between."""


def explain(
    images: list[Pixels],
    labels: int,
    asked: Asked,
    classify: Classify,
    at_a_time: int = AT_A_TIME,
) -> list[tuple[Row | PayloadError, Heat | None]]:
    """`labels` is how many there are; `at_a_time`, how many images `classify` takes at least.
    Raises BusyError, as `classify` does."""
    start = time.monotonic()
    found: list[tuple[Row | PayloadError, Heat | None]] = []
    for image, row in zip(images, classify(images, asked.label), strict=True):
        if isinstance(row, PayloadError) or not np.isfinite(row[:labels]).all():
            found.append((row if isinstance(row, PayloadError) else row[:labels], None))
            continue
        before, raw = row[:labels], row[labels:]
        label = int(before.argmax()) if asked.label < 0 else asked.label
        if len(raw):
            side = math.isqrt(len(raw))  # photos are square here, and so are their maps
            grid, method = scaled(raw.reshape(side, side)), ACTIVATION
        else:
            at_once = min(AT_A_TIME, at_a_time)
            grid, method = _cover(image, before, label, classify, at_once), OCCLUSION
        found.append((before, Heat(grid, label, method)))
    seconds = time.monotonic() - start
    return [
        (row, None if heat is None else Heat(heat.grid, heat.label, heat.method, seconds))
        for row, heat in found
    ]


def _cover(
    image: Pixels, before: Row, label: int, classify: Classify, at_a_time: int
) -> NDArray[np.float32]:
    def rows(covered: list[Pixels]) -> Row:
        given: list[Row] = []
        for first in range(0, len(covered), at_a_time):
            for row in classify(covered[first : first + at_a_time], None):
                if isinstance(row, PayloadError):
                    raise row
                given.append(row)
        return np.stack(given)

    return occlusion.heat(image, before, label, rows)
