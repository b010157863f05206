"""Photos to send: JPEGs of 500 x 375 pixels and about 110 kB, as photos of the web are."""

import io
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COUNT = 16
CHOSEN = 64
WIDTH, HEIGHT = 500, 375
BYTES = 110_000
NEAR = 0.03
QUALITY = 90


def make(folder: Path) -> None:
    """Shapes of all sizes, and as much fine grain as makes the file as large as it should be."""
    random = np.random.default_rng(0)
    for number in range(COUNT):
        scene, grain = _scene(random), random.normal(0, 1, (HEIGHT, WIDTH, 1))
        low, high = 0.0, 80.0
        for _ in range(20):
            strength = (low + high) / 2
            data = _encode(scene + strength * grain)
            if abs(len(data) - BYTES) <= NEAR * BYTES:
                break
            low, high = (strength, high) if len(data) < BYTES else (low, strength)
        (folder / f"{number:02d}.jpg").write_bytes(data)


def choose(source: Path, folder: Path) -> None:
    """Links those of `source`, and of the folders in it, whose size is nearest to `BYTES`, into
    `folder`: photos of different size cost differently, and a few dozen stand for all."""
    files = [path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")]
    files.sort(key=lambda path: (abs(path.stat().st_size - BYTES), path))
    found = 0
    for path in files:
        if found == CHOSEN:
            break
        with Image.open(path) as image:
            if image.format != "JPEG":  # whatever its name says
                continue
        (folder / f"{found:02d}.jpg").symlink_to(path.resolve())
        found += 1


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


def describe(folder: Path) -> dict[str, Any]:
    """What was sent. Raises ValueError where there is no JPEG."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in (".jpg", ".jpeg")]
    if not files:
        raise ValueError(f"{folder} holds no .jpg file")
    sizes = []
    for path in files:
        with Image.open(path) as image:
            sizes.append(image.size)
    return {
        "format": "JPEG",
        "count": len(files),
        "bytes": round(statistics.mean(path.stat().st_size for path in files)),
        "width": round(statistics.mean(width for width, _ in sizes)),
        "height": round(statistics.mean(height for _, height in sizes)),
    }
