"""A look at every photo before the first epoch: which ones cannot be decoded, and why.

Time-boxed: what is not reached is checked when training reads it.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from artifact.preprocess import PhotoError, open_photo
from container import resources
from container.failure import DataError
from train import channels
from train.index import Index, shown

SCAN_SECONDS = 60.0
ALWAYS_ALLOWED = 5
"""Bad files that never end a job by themselves: of 40 photos 1 % is none."""
CHUNK = 256
SHOWN = 10

Bad = dict[int, str]
"""Position in the index -> reason."""


def defect(index: Index, position: int) -> str | None:
    """Why the photo cannot be used, or None. Pillow decodes without the interpreter's lock."""
    try:
        # the smallest scale decodes fastest and still reads the file to its end
        open_photo(index.read(position), shortest=1)
    except PhotoError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def scan(
    index: Index, seconds: float = SCAN_SECONDS, advance: Callable[[int], None] = lambda _: None
) -> tuple[Bad, int]:
    """Bad photos, and how many photos were looked at before the time was up."""
    deadline = time.monotonic() + seconds
    bad: Bad = {}
    pool = ThreadPoolExecutor(resources.cpu_count())
    try:
        for start in range(0, len(index), CHUNK):
            if time.monotonic() > deadline:
                return bad, start
            positions = range(start, min(start + CHUNK, len(index)))
            for position, reason in zip(
                positions, pool.map(lambda at: defect(index, at), positions), strict=True
            ):
                if reason:
                    bad[position] = reason
            advance(len(positions))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return bad, len(index)


def drop(index: Index, bad: Bad, limit: float, say: Callable[[str], None]) -> Index:
    """The split without its bad photos, each of them named. Raises DataError above the limit."""
    if not bad:
        return index
    lines = [f"bad file {index.channel}/{shown(index.name(at))}: {bad[at]}" for at in sorted(bad)]
    for line in lines:
        say(line)
    check_limit(index.channel, lines, len(index), limit)
    return channels.without(index, set(bad))


def check_limit(channel: str, lines: list[str], total: int, limit: float) -> None:
    allowed = max(ALWAYS_ALLOWED, int(limit * total))
    if len(lines) > allowed:
        raise DataError(
            f"{len(lines)} of {total} files of {channel} cannot be used; the limit is {allowed}",
            "repair or remove them, or raise bad_file_limit",
            lines[:SHOWN],
        )
