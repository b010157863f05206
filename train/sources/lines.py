"""Text files line by line, with bounded lines."""

from collections.abc import Iterator
from pathlib import Path

from container.failure import DataError

LONGEST = 1 << 20
"""Bytes of a line: an augmented manifest's longest are some kilobytes."""


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank. Raises DataError."""
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(LONGEST + 1):
            number += 1
            if len(raw) > LONGEST:
                raise DataError(
                    f"{path.name} line {number} is longer than {LONGEST:,} bytes",
                    "write one photo a line",
                )
            # names are bytes, and a mark may begin the file
            text = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
            stripped = text.decode("utf-8", "surrogateescape").strip("\r\n")
            if stripped.strip():
                yield number, stripped
