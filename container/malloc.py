"""How the C library keeps memory that was freed.

Left alone it gives threads heaps of their own, each of which keeps what its own photos have needed,
and learns from the first large block that is freed to take such blocks from a heap, which returns
memory only from its end: a photo of 50 megapixels, 435 MB while it is decoded, stayed with its
thread, and the next thread's came on top.
"""

import ctypes
import sys

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
"""Of malloc.h."""
LARGE_BYTES = 4 << 20
"""From here on a block is a mapping of its own, gone as soon as it is freed. Photos up to a
megapixel stay below, for which mapping and unmapping would cost more than it gives."""


def keep_little() -> bool:
    """One heap for all threads, large blocks beside it; for threads that are still to come. False
    where the C library is another one."""
    if sys.platform != "linux":
        return False
    try:
        library = ctypes.CDLL(None)
        return all(
            library.mallopt(*option)
            for option in ((M_MMAP_THRESHOLD, LARGE_BYTES), (M_ARENA_MAX, 1))
        )
    except (AttributeError, OSError):  # musl has no mallopt, and returns memory by itself
        return False
