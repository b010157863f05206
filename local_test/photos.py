"""Makes a small data set of labelled photos in code: textures of four materials.

    python local_test/photos.py FOLDER [PER_CLASS]

The classes differ in structure, not in colour: colours, scale, light, noise, size and file format
vary in every class, so that a network has to look, and is not right about all after one epoch.
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

MIN_CONTRAST = 70
"""Of one colour channel, from 0 to 255: near the noise, so that some photos are hard."""

Field = NDArray[np.float64]
"""H x W, in [0, 1]: how much of the second colour a pixel has."""

SPLITS = {"train": 1.0, "validation": 0.25, "test": 0.25}
"""Photos per class, as a part of PER_CLASS."""


def _grid(size: int, random: np.random.Generator) -> tuple[Field, Field, float]:
    """Coordinates turned by a random angle, and a random period in pixels."""
    rows, columns = np.mgrid[0:size, 0:size].astype(float)
    angle = random.uniform(0, np.pi)
    along = rows * np.cos(angle) + columns * np.sin(angle)
    across = columns * np.cos(angle) - rows * np.sin(angle)
    return along, across, size * random.uniform(0.1, 0.25)


def stripes(size: int, random: np.random.Generator) -> Field:
    along, _, period = _grid(size, random)
    return 0.5 + 0.5 * np.sin(2 * np.pi * along / period)


def checks(size: int, random: np.random.Generator) -> Field:
    along, across, period = _grid(size, random)
    return ((along // period + across // period) % 2).astype(float)


def dots(size: int, random: np.random.Generator) -> Field:
    along, across, period = _grid(size, random)
    centre = (along % period - period / 2) ** 2 + (across % period - period / 2) ** 2
    return (centre < (period * random.uniform(0.22, 0.36)) ** 2).astype(float)


def clouds(size: int, random: np.random.Generator) -> Field:
    field = np.zeros((size, size))
    for octave in (4, 8, 16, 32):
        coarse = Image.fromarray((random.random((octave, octave)) * 255).astype(np.uint8))
        smooth = coarse.resize((size, size), Image.Resampling.BICUBIC)
        field += np.asarray(smooth, float) / octave
    stretched: Field = (field - field.min()) / np.ptp(field)
    return stretched


CLASSES: dict[str, Callable[[int, np.random.Generator], Field]] = {
    "checks": checks,
    "clouds": clouds,
    "dots": dots,
    "stripes": stripes,
}


def _colours(random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two that can be told apart."""
    while True:
        first, second = random.uniform(0, 255, 3), random.uniform(0, 255, 3)
        if np.abs(first - second).max() > MIN_CONTRAST:
            return first, second


def photo(label: str, random: np.random.Generator) -> Image.Image:
    """One photo of 90 to 200 pixels a side: two random colours, uneven light, blur and noise."""
    width, height = (int(random.integers(90, 200)) for _ in range(2))
    size = max(width, height)
    field = CLASSES[label](size, random)[:height, :width, None]
    first, second = _colours(random)
    light = np.linspace(random.uniform(0.5, 1), random.uniform(0.5, 1), width)[None, :, None]
    pixels = (first * (1 - field) + second * field) * light
    pixels += random.normal(0, random.uniform(5, 35), pixels.shape)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(random.uniform(0, 1.5)))


def encode(image: Image.Image, random: np.random.Generator) -> tuple[str, bytes]:
    """Suffix and bytes: two of three are JPEG, the rest PNG."""
    stream = io.BytesIO()
    if random.random() < 0.67:
        image.save(stream, "JPEG", quality=int(random.integers(60, 95)))
        return ".jpg", stream.getvalue()
    image.save(stream, "PNG")
    return ".png", stream.getvalue()


def make(folder: Path, per_class: int = 120, seed: int = 0) -> None:
    """`folder`/split/class/photo; the same photos for the same seed."""
    random = np.random.default_rng(seed)
    for split, part in SPLITS.items():
        for label in CLASSES:
            target = folder / split / label
            target.mkdir(parents=True, exist_ok=True)
            for number in range(max(2, round(per_class * part))):
                suffix, data = encode(photo(label, random), random)
                (target / f"{label}-{number:04d}{suffix}").write_bytes(data)


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 120)
