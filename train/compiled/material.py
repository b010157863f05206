"""The photos that an engine is calibrated with, of the training, and judged with, held out."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.answers import UNKNOWN as NOWHERE
from train.answers import Answers
from train.batches import Loader
from train.compiled import judge
from train.compiled.order import UNKNOWN, Photos
from train.index import Index

FEW, MANY = 64, 300
"""Photos to calibrate with, by how long the job has taken: ranges of activations have settled after
some tens, and the library's own number is 300."""
MOST_JUDGED = 2000
MOST_BYTES = 512 << 20
"""On disk while the engine is made: 3,500 photos of 224 pixels."""
LEAST_SECONDS, SHARE = 8.0, 0.05
"""For judging: at least so long, or a part of what the job has taken so far."""
LONGEST_SECONDS = 60.0
"""For as many as a verdict by points of accuracy needs, however short the job was."""
LONG_SECONDS = 1200.0
"""A job that took so long may calibrate with more photos."""


def budget_seconds(elapsed: float) -> float:
    """Of a job that has run for `elapsed` seconds, for judging: so that it stays a small part."""
    return max(LEAST_SECONDS, SHARE * elapsed)


def gather(
    loader: Callable[[Index, str], Loader],
    train: Index,
    held_out: Index,
    answers: Answers,
    elapsed: float,
    image_size: int,
    seed: int,
    should_stop: Callable[[], bool],
) -> Photos:
    """Decoded as they are served: drawn by chance, so that those which there is time for are a fair
    part. Fewer where one cannot be read any more, or where a stop is asked for."""
    random = np.random.default_rng([seed, 1])
    most = max(1, MOST_BYTES // (3 * image_size**2))
    count = min(MANY if elapsed >= LONG_SECONDS else FEW, most // 4, len(train))
    chosen = random.choice(len(train), count, replace=False)
    calibration, _ = _decoded(loader(train, "none"), chosen, (math.inf, 0.0), should_stop)
    chosen = random.permutation(len(held_out))[: min(MOST_JUDGED, most)]
    seconds = (2 * budget_seconds(elapsed), LONGEST_SECONDS)
    judged, positions = _decoded(loader(held_out, "none"), chosen, seconds, should_stop)
    right = _right(answers, len(held_out))[positions]
    could = min(len(held_out), MOST_JUDGED)
    return Photos(calibration, judged, held_out.targets[positions], right, could)


def _decoded(
    loader: Loader,
    positions: NDArray[np.int64],
    seconds: tuple[float, float],
    should_stop: Callable[[], bool],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels, and the positions of those that could be read within the time: the first number of
    seconds, or the second where it takes longer to read judge.MANY."""
    side = loader.photos.preprocessing.image_size
    start, read = time.monotonic(), 0
    images: list[Any] = [np.empty((0, side, side, 3), np.uint8)]
    kept: list[Any] = [np.empty(0, np.int64)]
    for batch in loader.these(positions):
        images.append(batch.inputs.numpy())
        kept.append(batch.spec.positions)
        read += len(batch.spec.positions)
        if should_stop() or is_over(time.monotonic() - start, read, *seconds):
            break
    return np.concatenate(images), np.concatenate(kept)


def is_over(spent: float, done: int, seconds: float, longest: float) -> bool:
    """Whether the time for judging is over after `done` photos."""
    return spent > (seconds if done >= judge.MANY else max(seconds, longest))


def _right(answers: Answers, photos: int) -> NDArray[np.int8]:
    """Per photo of the split: 1 or 0 as the evaluation saw it, UNKNOWN where it did not tell."""
    right = np.full(photos, UNKNOWN, np.int8)
    if len(answers.surprises):  # several labels: no single answer was kept
        return right
    told = answers.positions != NOWHERE
    right[answers.positions[told]] = (answers.predicted == answers.targets)[told]
    return right
