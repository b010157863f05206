"""Photos that cost more than they look: answered, or refused before they cost it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artifact import preprocess
from artifact.bounds import MAX_SCANS, WEBP_COPIES
from artifact.preprocess import PhotoError, PhotoTooLargeError, Preprocessing, open_photo, pixels
from tests import broken, make

RULES = Preprocessing.for_size(32)
PIXELS = 2_000_000
MOST_BYTES_PER_PIXEL = 10
"""A photo as Pillow keeps it takes 4, and its RGB form 4 more."""

PEAKS = """
import json, pathlib, sys
from artifact.preprocess import Preprocessing, pixels

def kilobytes(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

rules, peaks = Preprocessing.for_size(224), {}
pixels(pathlib.Path(sys.argv[1]).read_bytes(), rules)  # libraries are loaded on first use
for path in sys.argv[1:]:
    data = pathlib.Path(path).read_bytes()
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = kilobytes("VmRSS")
    pixels(data, rules)
    peaks[pathlib.Path(path).name] = 1024 * (kilobytes("VmHWM") - before)
print(json.dumps(peaks))
"""


@pytest.mark.filterwarnings("ignore")  # Pillow's words about damaged tags
@pytest.mark.parametrize("name", broken.READ)
def test_an_odd_photo_is_read(name: str) -> None:
    assert pixels(broken.READ[name](), RULES).shape == (32, 32, 3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", broken.REFUSED)
def test_a_broken_photo_is_refused_with_its_reason(name: str) -> None:
    make_it, message = broken.REFUSED[name]

    with pytest.raises(PhotoError, match=message):
        pixels(make_it(), RULES)


@pytest.mark.parametrize("name", broken.TOO_LARGE)
def test_what_is_too_large_is_refused_by_its_header(name: str) -> None:
    with pytest.raises(PhotoTooLargeError, match="pixels; the limit") as caught:
        pixels(broken.TOO_LARGE[name](), RULES)

    assert caught.value.pixels > caught.value.limit


def test_a_large_jpeg_may_have_fewer_scans_than_a_small_one() -> None:
    data = broken.jpeg_of_scans(20, 96, 64)

    assert pixels(data, RULES, max_pixels=96 * 64 * 20 // 16).size
    with pytest.raises(PhotoError, match="20 scans over 6,144 pixels; the limit is 19"):
        pixels(data, RULES, max_pixels=96 * 64 * 19 // 16 + 1)


def test_a_webp_may_have_half_the_pixels() -> None:
    data = make.encode(make.picture(60, 40), "WEBP")

    assert pixels(data, RULES, max_pixels=60 * 40 * WEBP_COPIES).size
    with pytest.raises(PhotoTooLargeError, match="limit of WebP is 2,399"):
        pixels(data, RULES, max_pixels=60 * 40 * WEBP_COPIES - 1)


def test_scans_within_a_thumbnail_are_not_counted() -> None:
    inner = make.encode(make.picture(16, 16), "JPEG", progressive=True)
    thumbnails = [broken.segment(0xE1, inner * 5) for _ in range(MAX_SCANS // 10)]

    assert pixels(broken.jpeg_with(*thumbnails), RULES).size


def photos_of(image: Image.Image) -> dict[str, bytes]:
    clear = image.copy()
    clear.putalpha(Image.linear_gradient("L").resize(image.size))
    grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "plain": make.encode(image, "PNG", compress_level=1),
        "alpha": make.encode(clear, "PNG", compress_level=1),
        "alpha, turned": make.encode(clear, "PNG", compress_level=1, exif=turned),
        "grey with alpha": make.encode(clear.convert("LA"), "PNG", compress_level=1),
        "palette": make.encode(image.convert("P"), "PNG", transparency=0),
        "one colour clear": make.encode(image, "PNG", transparency=(1, 2, 3), compress_level=1),
        "16 bits": make.encode(Image.fromarray(grey), "PNG", compress_level=1),
        "cmyk": make.encode(image.convert("CMYK"), "TIFF", compression="tiff_lzw"),
    }


@pytest.mark.parametrize("name", photos_of(make.picture(4, 4)))
def test_conversion_in_bands_gives_the_pixels_of_the_whole(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photos_of(make.picture(90, 70))[name]
    whole = open_photo(data, 70)
    monkeypatch.setattr(preprocess, "BAND_PIXELS", 1000)

    bands = open_photo(data, 70)

    assert whole.mode == bands.mode == "RGB"
    assert whole.tobytes() == bands.tobytes()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own account of peaks")
def test_memory_of_any_photo_is_bounded_by_its_pixels(tmp_path: Path) -> None:
    image = make.picture(PIXELS // 1000, 1000)
    photos = photos_of(image)
    photos["progressive"] = make.encode(image, "JPEG", progressive=True, subsampling=0)
    photos["tiles"] = broken.tiff_of_tile(1414, 1414, 1414, rows=1414)
    half = image.resize((1000, 1000)).convert("RGBA")
    photos["webp"] = make.encode(half, "WEBP", lossless=True, method=0, quality=0)
    for name, data in photos.items():
        (tmp_path / name).write_bytes(data)

    done = subprocess.run(
        [sys.executable, "-c", PEAKS, *(str(tmp_path / name) for name in photos)],
        cwd=preprocess.__file__.rsplit("/", 2)[0],
        capture_output=True,
        text=True,
        check=True,
    )

    peaks = {name: peak / PIXELS for name, peak in json.loads(done.stdout).items()}
    assert peaks.keys() == photos.keys()
    assert max(peaks.values()) < MOST_BYTES_PER_PIXEL, peaks
    assert peaks["plain"] > 3, "the measurement sees nothing"
