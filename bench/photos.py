"""Photos to send: JPEGs of 500 x 375 pixels and about 110 kB, as photos of the web are."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 500, 375
BYTES = 110_000
NEAR = 0.03
QUALITY = 90


def made(count: int) -> Iterator[bytes]:
    """Shapes of all sizes, and as much fine grain as makes the file as large as it should be."""
    random = np.random.default_rng(0)
    for _ in range(count):
        scene, grain = _scene(random), random.normal(0, 1, (HEIGHT, WIDTH, 1))
        low, high = 0.0, 80.0
        for _ in range(20):
            strength = (low + high) / 2
            data = _encode(scene + strength * grain)
            if abs(len(data) - BYTES) <= NEAR * BYTES:
                break
            low, high = (strength, high) if len(data) < BYTES else (low, strength)
        yield data


def _scene(random: np.random.Generator) -> Any:
    """H x W x 3 of about [0, 255]: octaves, each half as strong as the one before, as in photos."""
    scene = np.full((HEIGHT, WIDTH, 3), 128.0)
    for octave in range(1, 7):
        cells = random.integers(0, 256, (3 << octave, 4 << octave, 3)).astype(np.uint8)
        smooth = Image.fromarray(cells).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        scene += (np.asarray(smooth, float) - 128) / 2 ** (octave - 1)
    return scene


def _encode(pixels: Any) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    image.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
