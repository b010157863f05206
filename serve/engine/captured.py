"""Batches on a GPU without the processor's part in every kernel: recorded once, replayed after.

A small batch is over sooner on the device than its some hundred kernels are launched by Python. For
each batch size (powers of two, up to the largest) one CUDA graph is recorded, over buffers that
never move: photos go through pinned memory, which the device reads by itself.
"""

import threading
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from artifact.inference import Classifier

WARM_UPS = 3
"""Batches before a graph is recorded: libraries choose their kernels and take their memory."""


def sizes(most: int) -> list[int]:
    """Powers of two below `most`, and `most`: at most half of a batch is padding."""
    return [1 << power for power in range(most.bit_length()) if 1 << power < most] + [most]


class Captured:
    """Answers as its `classifier` does. On a processor the same way is taken without graphs, for a
    test that has no GPU. One batch at a time: who comes meanwhile waits."""

    def __init__(self, classifier: Classifier, most: int) -> None:
        self._classifier, self._lock = classifier, threading.Lock()
        self._rungs: dict[int, _Rung] = {}
        pool = torch.cuda.graph_pool_handle() if classifier.device.type == "cuda" else None
        for size in reversed(sizes(most)):  # the largest takes the memory that the others share
            self._rungs[size] = _Rung(classifier, size, pool)

    def classify(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Of at most as many as the largest size."""
        if images.dtype != np.uint8:  # floats are rare, and would take as many graphs again
            return self._classifier.classify(images)
        size = min(size for size in self._rungs if size >= len(images))
        with self._lock:
            return self._rungs[size].classify(images)


class _Rung:
    """One batch size."""

    def __init__(self, classifier: Classifier, size: int, pool: Any) -> None:
        self._classifier = classifier
        device, described = classifier.device, classifier.description
        on_gpu, side = device.type == "cuda", described.preprocessing.image_size
        photos = (size, side, side, 3)
        self._staged = torch.zeros(photos, dtype=torch.uint8, pin_memory=on_gpu)
        self._pixels = torch.zeros(photos, dtype=torch.uint8, device=device)
        self._rows = torch.zeros((size, len(described.labels)), pin_memory=on_gpu)
        self._graph = torch.cuda.CUDAGraph() if on_gpu else None
        if self._graph is not None:
            self._record(self._graph, pool)

    def _record(self, graph: "torch.cuda.CUDAGraph", pool: Any) -> None:
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARM_UPS):
                self._classifier.probabilities(self._pixels)
        torch.cuda.current_stream().wait_stream(beside)
        with torch.cuda.graph(graph, pool=pool):
            self._answer = self._classifier.probabilities(self._pixels)

    @torch.inference_mode()
    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(images)
        # what earlier batches left in the rows beyond is computed and not read
        self._staged[:count].copy_(torch.from_numpy(images))
        self._pixels[:count].copy_(self._staged[:count], non_blocking=True)
        if self._graph is None:
            self._answer = self._classifier.probabilities(self._pixels)
        else:
            self._graph.replay()
        self._rows[:count].copy_(self._answer[:count], non_blocking=True)
        if self._graph is not None:
            torch.cuda.current_stream().synchronize()
        answer: NDArray[np.float32] = self._rows[:count].numpy().copy()
        return answer
