"""Whether an engine may go on after an error: asked of the engine itself, not guessed from a name.

A photo whose numbers break the network leaves the engine as good as before. A GPU after a failed
assertion answers nothing any more, and a device that is out of memory may have room for half.
"""

import logging
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from container.failure import DeviceError, GpuMemoryError, HostMemoryError, classify

TOLERANCE = 0.01
"""Of a probability: kernels chosen for another batch size round in another way."""


class Classifying(Protocol):
    """What is needed of an engine here."""

    @property
    def image_size(self) -> int: ...

    def classify(self, batch: NDArray[Any]) -> NDArray[np.float32]: ...


class Probe:
    """A blank photo, and its answer while the engine was new."""

    def __init__(self, engine: Classifying) -> None:
        self._engine = engine
        self._blank = np.zeros((1, engine.image_size, engine.image_size, 3), np.uint8)
        self._answer = engine.classify(self._blank)

    def sound_after(self, error: Exception, count: int) -> bool:
        """Whether the engine that met `error` with a batch of `count` may be asked again."""
        failure = classify(error)
        if isinstance(failure, DeviceError):
            return False
        if isinstance(failure, GpuMemoryError | HostMemoryError) and count == 1:
            return False  # nothing is left to halve; a new engine starts with its memory returned
        try:
            answer = self._engine.classify(self._blank)
        except Exception:
            logging.exception("after that failure a blank photo cannot be classified either")
            return False
        return bool(np.abs(answer - self._answer).max() <= TOLERANCE)
