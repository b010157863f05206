"""Photos inside the page: small, few, and without what the camera wrote about place and time."""

import base64
import io
import time

from PIL import Image

from artifact.preprocess import PhotoError, open_photo
from pages.markup import Html, fill, join
from train.index import Index

SIDE = 176
"""Pixels of the longer side: sharp at the size that is shown, also on a phone's screen."""
BUDGET_BYTES = 3 << 20
SECONDS = 20.0
"""A channel may lie in a bucket and be slow; the job's end does not wait for it."""


class Thumbnails:
    """Photos of one report, which share a budget of bytes and of time."""

    def __init__(self, budget: int = BUDGET_BYTES, seconds: float = SECONDS) -> None:
        self.left = budget
        self.until = time.monotonic() + seconds

    def row(self, photos: list[Html], css: str = "") -> Html:
        return fill('<div class="photos $css">$photos</div>', css=css, photos=join(photos))

    def figure(self, index: Index, position: int, caption: object) -> Html:
        """One photo with its file name, or a box that says why there is none."""
        name = index.name(position) if position >= 0 else "a photo whose name is not known"
        return fill(
            "<figure>$photo<figcaption>$caption</figcaption></figure>",
            photo=self._photo(index, position, name),
            caption=caption,
        )

    def _photo(self, index: Index, position: int, name: str) -> Html:
        if position < 0 or self.left <= 0 or time.monotonic() > self.until:
            return fill('<div class="gone">$name</div>', name=name)
        try:
            data = shrink(index.read(position))
        except (OSError, PhotoError, ValueError):
            return fill('<div class="gone">cannot be read: $name</div>', name=name)
        source = "data:image/jpeg;base64," + base64.b64encode(data).decode()
        self.left -= len(source)
        return fill('<img src="$source" alt="$name" title="$name">', source=source, name=name)


def shrink(data: bytes) -> bytes:
    """Any photo -> a JPEG of a few kilobytes: the whole photo, upright, its pixels alone."""
    image = open_photo(data, SIDE)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=72, optimize=True)
    return stream.getvalue()
