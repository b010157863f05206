"""Bytes of a photo -> the pixels that the network sees: one function for training and serving.

Pillow and numpy only. The result is uint8; scaling to the network's float range is arithmetic of
the network's side (`artifact.network.normalise`), so that both sides move a quarter of the bytes.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import (  # noqa: F401  the plugins of the formats below: naming them saves loading all
    BmpImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from artifact.bounds import PhotoError as PhotoError
from artifact.bounds import PhotoTooLargeError as PhotoTooLargeError
from artifact.bounds import check_header, check_pixels, check_scans
from artifact.rules import Preprocessing as Preprocessing

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""Pillow's names of the formats that are read; no other decoder is ever opened."""

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff")

MAX_PIXELS = 50_000_000
"""Pixels of one photo in training: 50 megapixels decode to 150 MB."""

BAND_PIXELS = 1 << 18
"""Pixels converted to RGB at a time: a few megabytes beside the photo."""

ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held."""

Pixels = NDArray[np.uint8]

# our own limit is checked from the header, with a message of ours; Pillow's would only warn first
Image.MAX_IMAGE_PIXELS = None


def open_photo(data: bytes, shortest: int, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decodes to RGB, upright, at a reduced scale where that leaves at least 2 x `shortest` pixels.

    The factor of 2 keeps the later resize a real average (the same factor as Pillow's thumbnail).
    Raises PhotoTooLargeError before decoding, PhotoError for anything that is not a whole photo.
    """
    if not data:
        raise PhotoError("0 bytes: there is no photo")
    try:
        check_header(data, max_pixels)
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
        check_pixels(width, height, max_pixels)
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            check_scans(data, width * height, max_pixels)
        image.draft("RGB", (2 * shortest, 2 * shortest))  # JPEG only; a no-op elsewhere
        image.load()
        upright = _upright(image)
        del image  # where it was turned, only one of the two is kept
        return _rgb(upright)
    except PhotoError:
        raise
    except UnidentifiedImageError:
        names = ", ".join("WebP" if name == "WEBP" else name for name in FORMATS)
        raise PhotoError(
            f"{len(data)} bytes that start with {data[:12]!r} are none of {names}"
        ) from None
    except Exception as error:
        # damaged files come out of Pillow's decoders as OSError, SyntaxError, ValueError,
        # struct.error, IndexError, zlib.error ...; memory is not the photo's fault
        if isinstance(error, MemoryError):
            raise
        raise PhotoError(f"damaged photo: {error or type(error).__name__}") from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        if image.getexif().get(ORIENTATION, 1) == 1:
            return image  # the common case: transposing would copy the photo
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block says nothing about the pixels, which have been decoded
        return image


def _rgb(image: Image.Image) -> Image.Image:
    """RGB of any mode: 16-bit scaled by 257, CMYK converted, transparent pixels over white.

    Band by band: what lies between the photo and its RGB form is never whole in memory.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("I", "F"):
        raise PhotoError(f"32-bit pixels (mode {image.mode}); save the photo with 8 or 16 bits")
    rows = max(1, BAND_PIXELS // image.width)
    if rows >= image.height:
        return _band_rgb(image)
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(_band_rgb(band), (0, top))
    return whole


def _band_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        deep = np.asarray(image)
        return Image.fromarray((deep // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        background = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(background, layer).convert("RGB")
    return image.convert("RGB")


def fit(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    """An RGB image -> H x W x 3 uint8, H = W = `image_size`: resized, then the middle cut out.

    Resizing reads only the box that is kept, in one pass: no pixel is computed to be cut away.
    """
    side, width, height = preprocessing.image_size, image.width, image.height
    box_side = min(width, height) * side / preprocessing.resize
    left, top = (width - box_side) / 2, (height - box_side) / 2
    resized = image.resize(
        (side, side),
        Image.Resampling.BILINEAR,
        box=(left, top, left + box_side, top + box_side),
    )
    return np.asarray(resized)


def pixels(data: bytes, preprocessing: Preprocessing, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Bytes of a photo -> H x W x 3 uint8. Raises PhotoError."""
    return fit(open_photo(data, preprocessing.resize, max_pixels), preprocessing)
