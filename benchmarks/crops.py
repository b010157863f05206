"""More photos out of few: each real one in four different crops, in `train` and `validation`."""

from pathlib import Path

from PIL import Image

from artifact.preprocess import EXTENSIONS, PhotoError, open_photo

KEPT = 0.8
"""Of each side: enough for the crop to show the same thing, and other pixels."""
QUALITY = 90
SPLITS = {"train": ("train", "training"), "validation": ("validation", "valid", "val")}


def make(source: Path, target: Path, crops: int) -> int:
    """`source`/split/class/photo -> `target`/split/class/photo-corner.jpg; how many there are."""
    count = 0
    for split, names in SPLITS.items():
        found = [source / name for name in names if (source / name).is_dir()]
        if not found:
            raise FileNotFoundError(f"{source} has no folder {' or '.join(names)}")
        for path in sorted(found[0].glob("*/*")):
            if path.suffix.lower() not in EXTENSIONS:
                continue
            folder = target / split / path.parent.name
            folder.mkdir(parents=True, exist_ok=True)
            try:
                image = open_photo(path.read_bytes(), 10_000)
            except PhotoError:
                continue
            for corner in range(crops):
                _corner(image, corner).save(folder / f"{path.stem}-{corner}.jpg", quality=QUALITY)
                count += 1
    return count


def _corner(image: Image.Image, corner: int) -> Image.Image:
    width, height = int(image.width * KEPT), int(image.height * KEPT)
    left = (image.width - width) * (corner % 2)
    top = (image.height - height) * (corner // 2 % 2)
    return image.crop((left, top, left + width, top + height))
