"""Arithmetic by measurement: the quickest that answers the reference image as float32 does.

Which of bfloat16 and float16 is quicker differs from one GPU to the next, some have neither in
hardware, and a network may overflow in float16: so each is asked, and none is believed.
"""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from artifact.inference import Classifier, distance, tolerance

EXACT = "float32"
CANDIDATES = ("bfloat16", "float16")
ROUNDS = 5


@dataclass(frozen=True)
class Measured:
    precision: str
    seconds: float
    """Of a batch."""
    distance: float
    """Of the reference image's answer from that in float32; infinite where it is no answer."""

    @property
    def allowed(self) -> bool:
        return self.precision == EXACT or self.distance <= tolerance(self.precision, 0.0)

    def __str__(self) -> str:
        off = f"{self.distance:.4f} off" + ("" if self.allowed else ", too far")
        return f"{self.precision} {self.seconds * 1e3:.2f} ms a batch, {off}"


def best(measured: list[Measured]) -> Measured:
    """The quickest of those that are near enough."""
    return min((each for each in measured if each.allowed), key=lambda each: each.seconds)


def measure(model_dir: Path, device: str, count: int) -> list[Measured]:
    """float32 and the candidates, each loaded alone, on batches of `count`.

    Raises ArtifactError."""
    results, expected = [], list[float]()
    for precision in (EXACT, *CANDIDATES):
        classifier = Classifier(model_dir, device, precision)
        answer = classifier.reference()
        expected = expected or answer.tolist()
        seconds = _seconds(classifier, count)
        results.append(Measured(precision, seconds, distance(answer, expected)))
        del classifier
        if device == "cuda":
            torch.cuda.empty_cache()
    return results


def _seconds(classifier: Classifier, count: int) -> float:
    """The median of some batches after one that pays for kernels; photos come from the host."""
    side = classifier.description.preprocessing.image_size
    batch = np.zeros((count, side, side, 3), np.uint8)
    classifier.classify(batch)
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        classifier.classify(batch)  # comes back with the answer, so nothing is left to wait for
        times.append(time.perf_counter() - start)
    return statistics.median(times)
