"""Heat: how much each part of what the network saw speaks for a label, from 0 to 1."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float32]

ACTIVATION = "class activation map"
OCCLUSION = "occlusion"


@dataclass(frozen=True)
class Heat:
    """`grid` is rows x columns over the square that the network saw, `label` an index; `seconds`
    is what it took beyond the answer itself, of the whole request."""

    grid: Grid
    label: int
    method: str
    seconds: float = 0.0


def scaled(raw: NDArray[np.float32]) -> Grid:
    """What speaks for the label, the most of it 1; what speaks against it is 0, as in Grad-CAM."""
    positive = np.maximum(raw, 0).astype(np.float32)
    most = float(positive.max(initial=0.0))
    return positive / np.float32(most) if most > 0 and np.isfinite(most) else positive * 0
