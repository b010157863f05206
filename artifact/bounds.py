"""What decoding a photo would cost, read from its bytes before a decoder sees them.

A photo is bounded by its pixels (`preprocess`). Some files of few pixels, or of few bytes, cost far
more than their pixels say: scans over the whole picture again and again, headers of a million
parts, tiles larger than the picture. Every walk here is bounded itself, and skips what a decoder
skips. What a format allows and no camera or editor writes is refused with its number.
"""

import re
import struct
from collections.abc import Iterator

MAX_SCANS = 100
"""Of one JPEG: libtiff's own limit for those inside a TIFF. Progressive encoders write 6 to 18."""

FULL_SCANS = 16
"""Scans over a JPEG of the most pixels that are taken; a smaller one may have more. Each took
0.2 s of a processor at 50 megapixels."""

MAX_HEADER_SEGMENTS = 512
"""Of one JPEG before its first scan; a colour profile in the most parts takes 255."""

MAX_JUNK_BYTES = 65_536
"""Between the segments of a JPEG's header: Pillow skips them one by one, in Python."""

MAX_CHUNKS = 65_536
"""Of one PNG: at the usual 8 kB each, 512 MB."""

WEBP_COPIES = 2
"""A WebP may have the most pixels divided by this: Pillow's decoder, made for animations, holds
four copies, where other formats take at most two."""

MAX_RLE_PIXELS = 1_000_000
MAX_RLE_BYTES = 4_000_000
"""Of one run-length-encoded BMP, which Pillow decodes in Python."""

MAX_TAGS = 4096
MAX_VALUES = 65_536
"""Of a TIFF's directory, and of one tag that is no plain bytes: every value becomes an object, and
every strip or tile several. A picture of 65,535 rows may have a strip for each."""

SMALL_TILE_PIXELS = 1 << 22
"""A tile of a TIFF may be larger than the picture up to here."""


class PhotoError(ValueError):
    """The bytes are not a photo of a known format, or a damaged one."""


class PhotoTooLargeError(PhotoError):
    """The header declares more pixels than the limit; nothing was decoded."""

    def __init__(self, width: int, height: int, limit: int, whose: str = "") -> None:
        self.pixels, self.limit = width * height, limit
        super().__init__(
            f"{width}x{height} is {self.pixels:,} pixels; the limit{whose} is {limit:,}"
        )


_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_SCAN, _END = 0xDA, 0xD9
_BARE = frozenset([0x01, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)])
"""Markers of JPEG that no length follows."""

_UNIT_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
"""Of the types of a TIFF's tag."""
_BYTES_TYPES = (1, 2, 7)
_WHOLE = {1: "B", 3: "H", 4: "L", 6: "B", 8: "H", 9: "L", 16: "Q"}
_WIDTH, _LENGTH, _TILE_WIDTH, _TILE_LENGTH = 256, 257, 322, 323


def check_pixels(width: int, height: int, most: int) -> None:
    """Raises PhotoError for no pixels, PhotoTooLargeError for more than `most`."""
    if width * height > most:
        raise PhotoTooLargeError(width, height, most)
    if width < 1 or height < 1:
        raise PhotoError(f"{width}x{height} pixels: there is no photo")


def check_header(data: bytes, max_pixels: int) -> None:
    """What the bytes themselves say, of any format. Raises PhotoError."""
    if data.startswith(b"\xff\xd8\xff"):
        _check_jpeg_header(data)
    elif data.startswith(b"\x89PNG"):
        _check_png(data)
    elif data.startswith(b"BM"):
        _check_bmp(data)
    elif data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        _check_tiff(data)
    elif data[8:12] == b"WEBP":
        _check_webp(data, max_pixels)


def check_scans(data: bytes, pixels: int, max_pixels: int) -> None:
    """Of a JPEG of so many pixels. Raises PhotoError where it is decoded too many times over."""
    allowed = min(MAX_SCANS, FULL_SCANS * max_pixels // pixels)
    # at least as many as there are, and fast: in a scan's own bytes the two never come together
    if data.count(b"\xff\xda") <= allowed:
        return
    scans = sum(code == _SCAN for code, _ in _segments(data))
    if scans > allowed:
        raise PhotoError(f"a JPEG of {scans} scans over {pixels:,} pixels; the limit is {allowed}")


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker of each part, and the bytes skipped before it, up to the end of the picture or of the
    bytes: as Pillow and libjpeg walk, who pass over a scan's own bytes and all that is no marker.
    """
    place = 2
    while found := _MARKER.search(data, place):
        code = data[found.end() - 1]
        yield code, found.start() - place
        if code == _END:
            return
        place = found.end()
        if code not in _BARE:
            place += max(2, int.from_bytes(data[place : place + 2], "big"))
    yield _END, len(data) - place


def _check_jpeg_header(data: bytes) -> None:
    for number, (code, skipped) in enumerate(_segments(data)):
        if skipped > MAX_JUNK_BYTES:
            raise PhotoError(f"damaged photo: {skipped:,} bytes between parts of a JPEG's header")
        if code == _SCAN:
            return
        if number >= MAX_HEADER_SEGMENTS:
            raise PhotoError(f"a JPEG of over {MAX_HEADER_SEGMENTS} parts before its first scan")


def _check_png(data: bytes) -> None:
    place = 8
    for _ in range(MAX_CHUNKS):
        if place + 8 > len(data) or data[place + 4 : place + 8] == b"IEND":
            return
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    raise PhotoError(f"a PNG of more than {MAX_CHUNKS:,} chunks")


def _check_webp(data: bytes, max_pixels: int) -> None:
    """Before anything else, as the decoder takes memory for the canvas as soon as it is made."""
    width = height = 0
    if data[12:16] == b"VP8X" and len(data) >= 30:
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif data[12:16] == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif data[12:16] == b"VP8 " and len(data) >= 30:
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    most = max(1, max_pixels // WEBP_COPIES)
    if width * height > most:
        raise PhotoTooLargeError(width, height, most, " of WebP")


def _check_bmp(data: bytes) -> None:
    """The second header is of 40 bytes or more wherever it can name a compression."""
    if len(data) < 34 or int.from_bytes(data[14:18], "little") < 40:
        return
    width, height = struct.unpack_from("<ii", data, 18)
    pixels, compression = abs(width * height), int.from_bytes(data[30:34], "little")
    if compression in (1, 2) and (pixels > MAX_RLE_PIXELS or len(data) > MAX_RLE_BYTES):
        raise PhotoError(
            f"a run-length-encoded BMP of {pixels:,} pixels and {len(data):,} bytes; limits are "
            f"{MAX_RLE_PIXELS:,} and {MAX_RLE_BYTES:,}: save it uncompressed, or as PNG"
        )


def _check_tiff(data: bytes) -> None:
    """The first directory: how many tags, values of each, and how large a tile."""
    sizes: dict[int, int] = {}
    for tag, kind, count, value in _tags(data):
        if count > MAX_VALUES and kind not in _BYTES_TYPES:
            raise PhotoError(f"a TIFF whose tag {tag} has {count:,} values; at most {MAX_VALUES:,}")
        if value is None and tag in (_TILE_WIDTH, _TILE_LENGTH):
            raise PhotoError("a TIFF whose tiles have no plain size")
        sizes.setdefault(tag, value or 0)  # of the same tag twice, decoders take the first
    width, height, tile_width, tile_length = (
        sizes.get(tag, 0) for tag in (_WIDTH, _LENGTH, _TILE_WIDTH, _TILE_LENGTH)
    )
    if tile_width * tile_length > max(width * height, SMALL_TILE_PIXELS):
        raise PhotoError(
            f"a TIFF of {width}x{height} pixels in tiles of {tile_width}x{tile_length}"
        )


def _tags(data: bytes) -> Iterator[tuple[int, int, int, int | None]]:
    """Of the first directory: tag, type, number of values, and the first value where it is a whole
    number that lies in the entry itself."""
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in data[2:4]
    try:
        (place,) = struct.unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, place)
        if count > MAX_TAGS:
            raise PhotoError(f"a TIFF of {count:,} tags; at most {MAX_TAGS:,}")
        place += 8 if big else 2
        for _ in range(count):
            tag, kind, values = struct.unpack_from(order + ("HHQ" if big else "HHL"), data, place)
            held = place + (12 if big else 8)
            fits = values * _UNIT_BYTES.get(kind, 1) <= (8 if big else 4)
            whole = _WHOLE.get(kind) if fits and values else None
            value = struct.unpack_from(order + whole, data, held)[0] if whole else None
            yield tag, kind, values, value
            place = held + (8 if big else 4)
    except (struct.error, OverflowError):
        return  # cut short, which the decoder says
