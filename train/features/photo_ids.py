"""Names of photos by their content: what was computed for a photo once is good for it in any split,
under any path, in any job."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from container import resources
from train import content
from train.content import ID_BYTES
from train.evaluate import StopRequestedError
from train.index import Index

CHUNK = 256

Ids = NDArray[np.uint8]
"""N x ID_BYTES; all zeros for a photo that cannot be read."""


def of(index: Index, advance: Callable[[int], None], should_stop: Callable[[], bool]) -> Ids:
    """Reads every file once: far cheaper than decoding, and a changed photo under an old name is
    never taken for the old one. Raises StopRequestedError."""
    ids = np.zeros((len(index), ID_BYTES), np.uint8)
    with ThreadPoolExecutor(resources.cpu_count()) as pool:
        for start in range(0, len(index), CHUNK):
            if should_stop():
                raise StopRequestedError
            positions = range(start, min(start + CHUNK, len(index)))
            for position, found in zip(
                positions, pool.map(lambda at: _id(index, at), positions), strict=True
            ):
                ids[position] = np.frombuffer(found, np.uint8)
            advance(len(positions))
    return ids


def _id(index: Index, position: int) -> bytes:
    try:
        return content.of_photo(index.read(position))
    except OSError:  # whoever decodes it names it
        return bytes(ID_BYTES)


def of_view(ids: Ids, augmentation: str, view: int) -> Ids:
    """Of the photos as they are changed in this view."""
    if augmentation == "none":
        return ids
    found = np.zeros_like(ids)
    for position, photo in enumerate(ids):
        if photo.any():
            changed = content.of_view(photo.tobytes(), augmentation, view)
            found[position] = np.frombuffer(changed, np.uint8)
    return found
