"""Heat over the photo, as a PNG: what the network saw, and where the label is, from blue to red."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from artifact.preprocess import Preprocessing
from serve.answer import Outcome
from serve.heat.grid import Grid
from serve.payload import Item

Picture = NDArray[np.uint8]

STRENGTH = 0.5
"""Share of the heat's colour in a picture's pixel, where it is hottest."""
STOPS = ((0.0, (0, 0, 130)), (0.35, (0, 200, 220)), (0.65, (250, 230, 40)), (1.0, (210, 10, 10)))
"""Heat -> colour, by straight lines in between."""


def png(drawn: list[Picture]) -> bytes:
    """Pictures of one size, one below the other."""
    stream = io.BytesIO()
    Image.fromarray(np.concatenate(drawn)).save(stream, "PNG")
    return stream.getvalue()


def pictures(
    items: Sequence[Item], outcomes: Sequence[Outcome], rules: Preprocessing
) -> list[Picture]:
    """Of all items in their order; one that failed is grey."""
    return [
        blank(rules) if item.image is None or outcome.heat is None
        else over(item.image, outcome.heat.grid, rules)
        for item, outcome in zip(items, outcomes, strict=True)
    ]  # fmt: skip


def over(
    image: NDArray[np.uint8] | NDArray[np.float32], grid: Grid, rules: Preprocessing
) -> NDArray[np.uint8]:
    """H x W x 3: the pixels that the network saw, below the heat."""
    photo = image if image.dtype == np.uint8 else _pixels(image, rules)
    side = rules.image_size
    smooth = Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC)
    heat = np.clip(np.asarray(smooth), 0, 1)
    places = [place for place, _ in STOPS]
    channels = [np.interp(heat, places, [colour[at] for _, colour in STOPS]) for at in range(3)]
    coloured = np.stack(channels, axis=-1)
    share = STRENGTH * (0.3 + 0.7 * heat[..., None])
    return np.asarray(np.rint(photo * (1 - share) + coloured * share), np.uint8)


def blank(rules: Preprocessing) -> NDArray[np.uint8]:
    """In place of a photo that could not be read."""
    return np.full((rules.image_size, rules.image_size, 3), 128, np.uint8)


def _pixels(planes: NDArray[np.generic], rules: Preprocessing) -> NDArray[np.uint8]:
    """Normalised 3 x H x W back to H x W x 3 uint8."""
    values = planes.astype(np.float32).transpose(1, 2, 0)
    values = 255 * (values * np.asarray(rules.std) + np.asarray(rules.mean))
    whole: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return whole
