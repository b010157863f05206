"""Awkward photos: what becomes of them, and that both sides of the artifact see the same pixels."""

import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from artifact.preprocess import (
    EXTENSIONS,
    PhotoError,
    PhotoTooLargeError,
    Preprocessing,
    fit,
    open_photo,
    pixels,
)
from serve import payload
from tests import make
from train.batches import Photos
from train.index import Index
from train.schedule import Spec

RULES = Preprocessing.for_size(32)
PICTURE = make.picture()
DATA = Path(os.environ.get("DATA_DIR", "missing")) / "hymenoptera"


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


def textured(width: int, height: int) -> Image.Image:
    """Structure of every size down to single pixels, the finer the fainter, as a photo has it."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    finer = np.maximum(np.hypot(rows, columns), 1 / max(width, height))
    noise = np.random.default_rng(0).normal(size=(3, height, width))
    waves = np.fft.irfft2(np.fft.rfft2(noise) / finer, s=(height, width))
    planes = 128 + 45 * waves / waves.std()
    return Image.fromarray(planes.clip(0, 255).astype(np.uint8).transpose(1, 2, 0).copy())


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
    "large with detail": make.encode(textured(900, 700), "JPEG"),
    **{f"orientation {number}": turned(number) for number in range(1, 9)},
}


def trained(paths: Iterable[Path], rules: Preprocessing) -> np.ndarray:
    """What training reads of these files, and evaluation of each."""
    index = Index.of("train", Path("/"), ((str(path), 0) for path in paths))
    spec = Spec(0, 0, np.arange(len(index)), len(index), last=True)
    return Photos(index, rules, "none", seed=0)[spec].inputs.numpy()


def served(data: bytes, rules: Preprocessing) -> np.ndarray:
    asked = payload.decode(data, "application/x-image", payload.Rules(rules, 50_000_000, 4))
    (item,) = asked.items
    assert item.image is not None
    return item.image


@pytest.mark.parametrize("name", AWKWARD)
def test_training_and_server_see_the_same_pixels(name: str, tmp_path: Path) -> None:
    data = AWKWARD[name]
    (tmp_path / "photo").write_bytes(data)

    (read,) = trained([tmp_path / "photo"], RULES)
    asked = served(data, RULES)

    assert read.shape == (32, 32, 3)
    assert read.dtype == asked.dtype == np.uint8
    assert read.tobytes() == asked.tobytes()


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


def at_full_scale(data: bytes, rules: Preprocessing = RULES) -> np.ndarray:
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return fit(upright.convert("RGB"), rules).astype(int)


@pytest.mark.parametrize("size", [(60, 40), (127, 200), (140, 100)])
def test_without_a_reduced_scale_the_pixels_are_those_of_the_whole_photo(size) -> None:
    data = make.encode(make.picture(*size), "JPEG")

    np.testing.assert_array_equal(pixels(data, RULES), at_full_scale(data))


@pytest.mark.parametrize("size", [(300, 260), (600, 500), (1200, 900)])
@pytest.mark.parametrize(
    ("picture", "mean", "most"),
    [
        pytest.param(make.picture, 0.5, 4, id="smooth"),
        pytest.param(textured, 2, 14, id="detailed"),
    ],
)
def test_a_reduced_scale_changes_a_photo_little(picture, size, mean, most) -> None:
    """In levels of 255. Smooth pictures hardly change, detail does."""
    data = make.encode(picture(*size), "JPEG", quality=90)

    difference = np.abs(pixels(data, RULES) - at_full_scale(data))

    assert open_photo(data, RULES.resize).size < size
    assert difference.mean() < mean
    assert difference.max() <= most


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason="no DATA_DIR with hymenoptera: no real photos")
@pytest.mark.parametrize(
    ("size", "mean", "worst", "most"),
    [(32, 1.6, 5.8, 69), (64, 1.1, 3.9, 42), (128, 0.6, 1.1, 19), (224, 0.2, 0.3, 6)],
)
def test_a_reduced_scale_changes_real_photos_as_the_guide_says(size, mean, worst, most) -> None:
    """In levels of 255: on average, the photo that changes the most, and the pixel. All the same,
    both sides see the same."""
    rules = Preprocessing.for_size(size)
    photos = sorted(path for path in DATA.rglob("*") if path.suffix.lower() in EXTENSIONS)

    means, pixel = [], 0
    for path in photos:
        with Image.open(path) as image:
            if min(image.size) < 4 * rules.resize:
                continue
        data = path.read_bytes()
        asked = served(data, rules)
        assert trained([path], rules)[0].tobytes() == asked.tobytes()
        difference = np.abs(asked - at_full_scale(data, rules))
        means.append(difference.mean())
        pixel = max(pixel, difference.max())

    assert means
    assert np.mean(means) == pytest.approx(mean, abs=0.05)
    assert max(means) == pytest.approx(worst, abs=0.05)
    assert pixel == pytest.approx(most, rel=0.1)


def test_the_middle_is_cut_out_and_the_shorter_side_resized() -> None:
    wide = Image.new("RGB", (96, 32), (0, 0, 255))
    wide.paste((255, 0, 0), (32, 0, 64, 32))
    stream = io.BytesIO()
    wide.save(stream, "PNG")

    seen = pixels(stream.getvalue(), RULES)

    assert (seen[:, 2:-2] == (255, 0, 0)).all()
