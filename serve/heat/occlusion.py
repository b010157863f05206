"""Heat of any network: cover a part of the photo, and see how much less certain it is of the label.

Costs a forward pass for each part. Windows overlap, so that a part is judged by several of them.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from serve.heat.grid import Grid, scaled

Pixels = NDArray[np.uint8] | NDArray[np.float32]
Rows = NDArray[np.float32]

CELLS = 7
"""Rows and columns of the grid: 49 forward passes, and the grid of most networks' last map."""
WINDOW = 2
"""Cells a side that are covered at a time: smaller ones are seldom missed."""


def heat(image: Pixels, before: Rows, label: int, classify: Callable[[list[Pixels]], Rows]) -> Grid:
    """CELLS x CELLS of 0 to 1. `before` are the probabilities of the whole photo."""
    covered = list(windows(image))
    after = classify([each for each, _ in covered])
    lost, count = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    for (_, cells), row in zip(covered, after, strict=True):
        lost[cells] += _log_odds(before[label]) - _log_odds(row[label])
        count[cells] += 1
    return scaled((lost / count).astype(np.float32))


def windows(image: Pixels) -> Iterator[tuple[Pixels, tuple[slice, slice]]]:
    """The image with one window after the other covered by its mean colour, and the window's cells;
    windows reach over the border, so that each cell is in as many of them."""
    planes = image.dtype != np.uint8  # 3 x H x W, else H x W x 3
    size = image.shape[1]
    colour = image.mean(axis=(1, 2) if planes else (0, 1))
    edges = np.linspace(0, size, CELLS + 1).round().astype(int)
    for row in range(1 - WINDOW, CELLS):
        for column in range(1 - WINDOW, CELLS):
            rows = slice(max(0, row), min(CELLS, row + WINDOW))
            columns = slice(max(0, column), min(CELLS, column + WINDOW))
            high = slice(edges[rows.start], edges[rows.stop])
            wide = slice(edges[columns.start], edges[columns.stop])
            covered = image.copy()
            if planes:
                covered[:, high, wide] = colour[:, None, None]
            else:
                covered[high, wide] = colour
            yield covered, (rows, columns)


def _log_odds(probability: np.float32) -> float:
    """Saturated probabilities hardly move; their odds do."""
    kept = min(max(float(probability), 1e-7), 1 - 1e-7)
    return float(np.log(kept / (1 - kept)))
