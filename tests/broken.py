"""Photos as no camera writes them, made in code: broken, absurd, or far dearer than they look."""

import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests import make

PICTURE = make.picture(96, 64)


def png_of_size(width: int, height: int) -> bytes:
    """A small PNG whose header declares another size."""
    data = bytearray(make.encode(PICTURE, "PNG"))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def jpeg_of_size(width: int, height: int, **options: object) -> bytes:
    data = bytearray(make.encode(PICTURE, "JPEG", **options))
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_of_scans(count: int, width: int = 96, height: int = 64) -> bytes:
    """A progressive JPEG whose last scan is there again and again."""
    data = make.encode(make.picture(width, height), "JPEG", progressive=True)
    last = data.rfind(b"\xff\xda")
    # its tables, if any, stay behind: a scan may be read again with them
    return data[:-2] + data[last:-2] * (count - data.count(b"\xff\xda")) + b"\xff\xd9"


def jpeg_with(*segments: bytes) -> bytes:
    """Segments between the beginning of a JPEG and the rest of it."""
    data = make.encode(PICTURE, "JPEG")
    return data[:2] + b"".join(segments) + data[2:]


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def exif(*entries: tuple[int, int, int, int], tail: bytes = b"") -> bytes:
    """An EXIF block of (tag, type, count, value or offset)."""
    body = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHLL", *each) for each in entries
    )
    return b"Exif\0\0" + b"II*\0" + struct.pack("<L", 8) + body + b"\0" * 4 + tail


def tiff(*entries: tuple[int, int, int, int], tail: bytes = b"") -> bytes:
    return exif(*sorted(entries), tail=tail)[6:]


def tiff_of_tile(side: int, width: int = 64, height: int = 64, rows: int = 16) -> bytes:
    """Deflated, of one tile of `side` x `side` pixels, whatever the picture's size; `rows` of it
    are there."""
    tile = zlib.compress(bytes(side * 3) * rows)
    place = 10 + 12 * 11
    return tiff(
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 2),
        (277, 3, 1, 3), (284, 3, 1, 1), (322, 4, 1, side), (323, 4, 1, side),
        (324, 4, 1, place + 8), (325, 4, 1, len(tile)),
        tail=bytes(4) + tile,
    )  # fmt: skip


def tiff_of_offsets(count: int) -> bytes:
    """Raw, in so many strips of one row, all of them the same."""
    tags = ((256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1))
    strips = ((273, 3, count, 10 + 12 * 7 + 4), (278, 3, 1, 1))
    return tiff(*tags, *strips, tail=bytes(2 * count + 64))


def bmp_of_runs(width: int, height: int, body: bytes) -> bytes:
    """Run-length-encoded, 8 bits a pixel."""
    palette = bytes(1024)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + palette + body


def webp_of_canvas(width: int, height: int) -> bytes:
    """A small WebP with an animation's header in front, of another size."""
    plain = make.encode(PICTURE, "WEBP")[12:]
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBP" + b"VP8X" + struct.pack("<II", 10, 0) + sides + plain
    return b"RIFF" + struct.pack("<I", len(body)) + body


def animated(name: str) -> bytes:
    others = [make.picture(96, 64, seed) for seed in range(1, 12)]
    return make.encode(PICTURE, name, save_all=True, append_images=others, duration=40, loop=0)


def png_chunks(count: int) -> bytes:
    data = make.encode(PICTURE, "PNG")
    empty = struct.pack(">I4sI", 0, b"teSt", zlib.crc32(b"teSt"))
    return data[:33] + empty * count + data[33:]


def png_text(megabytes: int) -> bytes:
    """A comment that unpacks to far more than it is."""
    data = make.encode(PICTURE, "PNG")
    content = b"k\0\0" + zlib.compress(bytes(megabytes << 20))
    chunk = struct.pack(">I", len(content)) + b"zTXt" + content
    return data[:33] + chunk + struct.pack(">I", zlib.crc32(b"zTXt" + content)) + data[33:]


def _orientation(kind: int, count: int, value: int) -> bytes:
    return jpeg_with(segment(0xE1, exif((0x0112, kind, count, value))))


LOOP = exif((0x8769, 4, 1, 8), (0x8825, 4, 1, 8), (0x0112, 3, 1, 6))
"""Its sub-directories are itself."""

READ: dict[str, Callable[[], bytes]] = {
    "a directory that holds itself": lambda: jpeg_with(segment(0xE1, LOOP)),
    "an orientation of 65,535": lambda: _orientation(3, 1, 65_535),
    "an orientation that is a text": lambda: _orientation(2, 4, 0x41414141),
    "an orientation far behind the end": lambda: _orientation(3, 60_000, 0xFFFFFF),
    "EXIF of nothing": lambda: jpeg_with(segment(0xE1, b"Exif\0\0")),
    "EXIF of noise": lambda: jpeg_with(segment(0xE1, b"Exif\0\0MM\0*" + bytes(range(250)))),
    "EXIF in fifty parts": lambda: jpeg_with(*[segment(0xE1, LOOP + bytes(9000))] * 50),
    "a JPEG of 18 scans": lambda: jpeg_of_scans(18),
    "junk between a JPEG's parts": lambda: jpeg_with(segment(0xFE, b""), bytes(2000)),
    "a JPEG of one row": lambda: make.encode(Image.new("RGB", (8000, 1)), "JPEG"),
    "an animated WebP": lambda: animated("WEBP"),
    "a TIFF in a larger tile": lambda: tiff_of_tile(512, rows=512),
    "a TIFF of pages": lambda: animated("TIFF"),
    "run-length-encoded BMP": lambda: bmp_of_runs(8, 8, b"\x08\x00\0\0" * 8 + b"\0\1"),
    "a PNG with a packed comment": lambda: png_text(1),
}
"""Odd, and answered all the same."""

REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "an animated GIF": (lambda: animated("GIF"), "none of JPEG"),
    "a JPEG of 500 scans": (lambda: jpeg_of_scans(500), "500 scans"),
    "a JPEG of a scan too many": (lambda: jpeg_of_scans(101), "101 scans"),
    "a JPEG cut in its header": (lambda: make.photo()[:200], "damaged"),
    "a JPEG cut in its scan": (lambda: make.photo()[:-300], "damaged"),
    "a JPEG of zeros": (lambda: b"\xff\xd8\xff" + bytes(1_500_000), "between parts"),
    "a JPEG of junk": (lambda: jpeg_with(segment(0xFE, b""), bytes(10**6)), "between parts"),
    "a JPEG of many parts": (lambda: jpeg_with(segment(0xE1, exif()) * 60_000), "over 512 parts"),
    "a JPEG of bare markers": (lambda: jpeg_with(b"\xff\xd0" * 200_000), "over 512 parts"),
    "a PNG cut short": (lambda: make.photo("PNG")[:200], "damaged"),
    "a PNG of many chunks": (lambda: png_chunks(100_000), "chunks"),
    "a PNG with a bomb for a comment": (lambda: png_text(300), "damaged"),
    "a TIFF in one huge tile": (lambda: tiff_of_tile(10_000), "tiles of 10000x10000"),
    "a TIFF of many strips": (lambda: tiff_of_offsets(900_000), "900,000 values"),
    "a TIFF without a directory": (lambda: b"II*\0" + b"\xff" * 40, ""),
    "a TIFF of endless tags": (lambda: tiff(*[(7, 1, 1, 1)] * 5000), "5,000 tags"),
    "a BMP of runs of nothing": (
        lambda: bmp_of_runs(900, 1000, b"\0\0" * 450_000 + bytes(4_000_000)), "run-length"
    ),
    "a BMP of far too long runs": (lambda: bmp_of_runs(1001, 1000, b"\xff\0" * 100), "run-length"),
    "a WebP cut short": (lambda: make.photo("WEBP")[:100], "damaged"),
    "a WebP of another canvas": (lambda: webp_of_canvas(100, 65), "damaged"),
    "noise": (lambda: np.random.default_rng(1).bytes(5000), "none of JPEG"),
}  # fmt: skip
"""400, with a word of why."""

TOO_LARGE: dict[str, Callable[[], bytes]] = {
    "a PNG of 65,535 x 65,535": lambda: png_of_size(65_535, 65_535),
    "a JPEG of 65,535 x 65,535": lambda: jpeg_of_size(65_535, 65_535),
    "a progressive JPEG of 65,535 x 65,535": lambda: jpeg_of_size(65_535, 65_535, progressive=True),
    "a WebP canvas of 16,777,216 x 200": lambda: webp_of_canvas(1 << 24, 200),
    "a PNG of 2,147,483,647 columns": lambda: png_of_size(2**31 - 1, 1),
    "a BMP of 65,535 x 65,535": lambda: bmp_of_runs(65_535, 65_535, b"")[:30] + bytes(1100),
    "a TIFF of 65,535 x 65,535": lambda: tiff_of_tile(16, 65_535, 65_535),
}
"""413, by what the header declares."""
