"""Awkward photos: what becomes of them, and that both sides of the artifact see the same pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from artifact.preprocess import (
    PhotoError,
    PhotoTooLargeError,
    Preprocessing,
    fit,
    open_photo,
    pixels,
)
from serve import payload
from tests import make

RULES = Preprocessing.for_size(32)
PICTURE = make.picture()


def with_alpha(mode: str) -> Image.Image:
    image = PICTURE.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image.convert(mode)


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return make.encode(PICTURE, "JPEG", exif=exif)


def sixteen_bits() -> bytes:
    grey = np.asarray(PICTURE.convert("L")).astype(np.uint16) * 257
    return make.encode(Image.fromarray(grey), "PNG")


def frames(name: str, **options: object) -> bytes:
    others = [make.picture(seed=seed) for seed in (1, 2)]
    return make.encode(PICTURE, name, save_all=True, append_images=others, **options)


AWKWARD = {
    "jpeg": make.encode(PICTURE, "JPEG"),
    "progressive jpeg": make.encode(PICTURE, "JPEG", progressive=True),
    "grey jpeg": make.encode(PICTURE.convert("L"), "JPEG"),
    "cmyk jpeg": make.encode(PICTURE.convert("CMYK"), "JPEG"),
    "cmyk tiff": make.encode(PICTURE.convert("CMYK"), "TIFF"),
    "palette": make.encode(PICTURE.convert("P"), "PNG"),
    "palette with transparency": make.encode(PICTURE.convert("P"), "PNG", transparency=0),
    "alpha": make.encode(with_alpha("RGBA"), "PNG"),
    "grey with alpha": make.encode(with_alpha("LA"), "PNG"),
    "rgb with a transparent colour": make.encode(PICTURE, "PNG", transparency=(1, 2, 3)),
    "16 bits": sixteen_bits(),
    "1 bit": make.encode(PICTURE.convert("1"), "PNG"),
    "mpo": frames("MPO"),
    "animated webp": frames("WEBP"),
    "tiff of pages": frames("TIFF"),
    "bmp": make.encode(PICTURE, "BMP"),
    "one pixel wide": make.encode(make.picture(1, 90), "PNG"),
    "one pixel": make.encode(make.picture(1, 1), "PNG"),
    "large": make.encode(make.picture(900, 700), "JPEG"),
    **{f"orientation {number}": turned(number) for number in range(1, 9)},
}


@pytest.mark.parametrize("name", AWKWARD)
def test_training_and_server_see_the_same_pixels(name: str) -> None:
    data = AWKWARD[name]
    rules = payload.Rules(RULES, 10**6, 4)

    trained = pixels(data, RULES)
    served = payload.decode(data, "application/x-image", rules).items[0].image

    assert served is not None
    assert trained.shape == (32, 32, 3)
    assert trained.dtype == served.dtype == np.uint8
    assert trained.tobytes() == served.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_becomes_the_same_upright_photo(orientation: int) -> None:
    methods = [
        None,
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.ROTATE_90,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_270,
    ]
    method = methods[orientation - 1]
    exif = Image.Exif()
    exif[0x0112] = orientation
    held = PICTURE if method is None else PICTURE.transpose(method)

    seen = pixels(make.encode(held, "PNG", exif=exif), RULES)

    np.testing.assert_array_equal(seen, pixels(make.encode(PICTURE, "PNG"), RULES))


def test_transparent_pixels_become_white() -> None:
    clear = make.encode(Image.new("RGBA", (40, 40), (0, 0, 0, 0)), "PNG")

    assert (pixels(clear, RULES) == 255).all()


def test_sixteen_bits_keep_their_brightness() -> None:
    eight = make.encode(PICTURE.convert("L"), "PNG")

    np.testing.assert_array_equal(pixels(sixteen_bits(), RULES), pixels(eight, RULES))


@pytest.mark.parametrize("name", ["mpo", "animated webp", "tiff of pages"])
def test_only_the_first_frame_counts(name: str) -> None:
    kind = {"mpo": "JPEG", "animated webp": "WEBP", "tiff of pages": "TIFF"}[name]
    alone = pixels(make.encode(PICTURE, kind), RULES).astype(int)

    assert np.abs(pixels(AWKWARD[name], RULES).astype(int) - alone).mean() < 6


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "0 bytes", id="zero bytes"),
        pytest.param(make.photo()[:200], "damaged", id="truncated jpeg"),
        pytest.param(make.photo("PNG")[:200], "damaged", id="truncated png"),
        pytest.param(frames("GIF"), "none of JPEG", id="gif"),
        pytest.param(b"<html>", "none of JPEG", id="no photo"),
        pytest.param(
            make.encode(Image.new("F", (4, 4)), "TIFF"), "32-bit pixels", id="float pixels"
        ),
    ],
)
def test_what_is_no_photo_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(PhotoError, match=message):
        pixels(data, RULES)


def test_a_bomb_is_refused_by_its_header() -> None:
    data = bytearray(make.photo("PNG"))
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    checksum = __import__("zlib").crc32(data[12:29]).to_bytes(4, "big")
    data[29:33] = checksum

    with pytest.raises(PhotoTooLargeError, match="100000x100000"):
        pixels(bytes(data), RULES)


def test_a_large_jpeg_is_decoded_at_a_reduced_scale() -> None:
    image = open_photo(make.encode(make.picture(1600, 1200), "JPEG"), RULES.resize)

    assert image.size == (200, 150)


def at_full_scale(data: bytes) -> np.ndarray:
    return fit(Image.open(io.BytesIO(data)).convert("RGB"), RULES).astype(int)


@pytest.mark.parametrize("size", [(60, 40), (127, 200), (140, 100)])
def test_without_a_reduced_scale_the_pixels_are_those_of_the_whole_photo(size) -> None:
    data = make.encode(make.picture(*size), "JPEG")

    np.testing.assert_array_equal(pixels(data, RULES), at_full_scale(data))


@pytest.mark.parametrize("size", [(300, 260), (600, 500), (1200, 900)])
def test_a_reduced_scale_changes_a_photo_by_less_than_anybody_sees(size) -> None:
    """Half a level of 255 on average, four at most."""
    data = make.encode(make.picture(*size), "JPEG")

    difference = np.abs(pixels(data, RULES) - at_full_scale(data))

    assert open_photo(data, RULES.resize).size < size
    assert difference.mean() < 0.5
    assert difference.max() <= 4


def test_the_middle_is_cut_out_and_the_shorter_side_resized() -> None:
    wide = Image.new("RGB", (96, 32), (0, 0, 255))
    wide.paste((255, 0, 0), (32, 0, 64, 32))
    stream = io.BytesIO()
    wide.save(stream, "PNG")

    seen = pixels(stream.getvalue(), RULES)

    assert (seen[:, 2:-2] == (255, 0, 0)).all()
