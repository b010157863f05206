"""Of photos with several labels, what the network was most wrong about: labels that it is sure of
and the photo has not, and labels that the photo has and it sees no sign of."""

import numpy as np
from numpy.typing import NDArray

MOST = 18
"""Of either kind: as many as a page shows, whatever the number of photos."""

SURPRISE = np.dtype([
    ("position", "i4"),  # in the split's index
    ("label", "i4"),
    ("probability", "f4"),  # that the network gave the label
    ("has", "u1"),  # whether the photo has it
])  # fmt: skip

Rows = NDArray[np.void]


def of(
    probabilities: NDArray[np.float32], targets: NDArray[np.uint8], positions: NDArray[np.int64]
) -> Rows:
    """Of photos x labels: each label on the wrong side of 0.5, as rows of SURPRISE."""
    photo, label = np.nonzero((probabilities >= 0.5) != (targets == 1))
    rows = np.zeros(len(photo), SURPRISE)
    rows["position"], rows["label"] = positions[photo], label
    rows["probability"], rows["has"] = probabilities[photo, label], targets[photo, label]
    return most(rows)


def most(rows: Rows) -> Rows:
    """The greatest `MOST` of either kind, the greatest first."""
    error = np.abs(rows["probability"] - rows["has"])
    order = np.argsort(-error, kind="stable")
    kinds = [order[rows["has"][order] == has][:MOST] for has in (0, 1)]
    greatest: Rows = rows[np.concatenate(kinds)]
    return greatest
