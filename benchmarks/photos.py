"""Photos to send: JPEGs of 500 x 375 pixels and about 110 kB, as photos of the web are."""

import statistics
from pathlib import Path
from typing import Any

from PIL import Image

from bench import photos

COUNT = 16
CHOSEN = 64
BYTES = photos.BYTES


def make(folder: Path) -> None:
    """As `docker run IMAGE bench` makes them."""
    for number, data in enumerate(photos.made(COUNT)):
        (folder / f"{number:02d}.jpg").write_bytes(data)


def choose(source: Path, folder: Path) -> None:
    """Links those of `source`, and of the folders in it, whose size is nearest to BYTES, into
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
