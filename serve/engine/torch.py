"""The torch engine: the artifact's own classifier, with threads and precision for the device."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from artifact.inference import Classifier
from container.failure import DeviceError
from serve.engine.captured import Captured
from serve.engine.measured import best, measure

CPU_FLAGS = ("amx_bf16", "avx512_bf16")
"""Processors with either multiply in bfloat16; elsewhere it is slower than float32."""


def choose_precision(wanted: str, device: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    if wanted != "auto":
        return wanted
    if device != "cpu":
        return "bfloat16"  # where nothing was measured
    try:
        flags = set(cpuinfo.read_text().split())
    except OSError:
        flags = set()
    return "bfloat16" if flags & set(CPU_FLAGS) else "float32"


class TorchEngine:
    """`device` is `cpu` or `cuda`, `most` the largest batch. Raises ArtifactError, or DeviceError
    for a GPU of no use. `note` tells how the arithmetic was chosen."""

    def __init__(
        self, model_dir: Path, device: str, precision: str, threads: int, most: int
    ) -> None:
        torch.set_num_threads(threads)
        self.note = ""
        if device == "cuda":
            _check_gpu()
            if precision == "auto":
                measured = measure(model_dir, device, most)
                precision = best(measured).precision
                self.note = "; ".join(map(str, measured))
        chosen = choose_precision(precision, device)
        self.name = f"torch-{chosen}"
        self.streams = 1  # its threads, or the device, are busy with one batch
        self.batch_images = most
        classifier = Classifier(model_dir, device, chosen)
        self.image_size = classifier.description.preprocessing.image_size
        self.classifier = classifier
        """For those who look into its network."""
        self._answering: Classifier | Captured = classifier
        if device == "cuda":
            self._capture(classifier, most)

    def _capture(self, classifier: Classifier, most: int) -> None:
        try:
            self._answering = Captured(classifier, most)
        except RuntimeError as error:  # a network that asks the processor, or no memory for it
            first = str(error).splitlines()[0][:200]
            self.note = "; ".join(filter(None, [self.note, f"no graphs: {first}"]))

    def classify(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        return self._answering.classify(batch)

    def warm_up(self, count: int) -> float:
        """Seconds of the second of two batches; the first one pays for memory and kernels."""
        batch = np.zeros((count, self.image_size, self.image_size, 3), np.uint8)
        seconds = 0.0
        for _ in range(2):
            start = time.monotonic()
            self.classify(batch)
            seconds = time.monotonic() - start
        return seconds

    def prepare(self) -> None:
        """Nothing: all that it does is done."""


def _check_gpu() -> None:
    if not torch.cuda.is_available():
        raise DeviceError(
            "a GPU is visible but torch cannot use it",
            "use the image with CUDA and a driver that fits, or set CUDA_VISIBLE_DEVICES=-1",
        )
    # batches come in a few fixed sizes: looking for the best kernels pays off
    torch.backends.cudnn.benchmark = True
