"""How the C library keeps memory that was freed.

Left alone it gives threads heaps of their own, each of which keeps what its own photos have needed,
and learns from the first large block that is freed to take such blocks from a heap, which returns
memory only from its end: a photo of 50 megapixels, 435 MB while it is decoded, stayed with its
thread, and the next thread's came on top.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Of malloc.h."""
LARGE_BYTES = 4 << 20
"""From here on a block is a mapping of its own, gone as soon as it is freed. Photos up to a
megapixel stay below, for which mapping and unmapping would cost more than it gives."""
SPARE_BYTES = 8 << 20
"""At the heap's end before it is returned: what a few photos need, which the next ones take again.
Without it each photo's memory goes, and comes back page by page."""


def keep_little() -> bool:
    """One heap for all threads, large blocks beside it; for threads that are still to come. False
    where the C library is another one."""
    if sys.platform != "linux":
        return False
    try:
        library = ctypes.CDLL(None)
        options = (
            (M_MMAP_THRESHOLD, LARGE_BYTES),
            (M_TRIM_THRESHOLD, SPARE_BYTES),
            (M_ARENA_MAX, 1),
        )
        return all(library.mallopt(*option) for option in options)
    except (AttributeError, OSError):  # musl has no mallopt, and returns memory by itself
        return False
