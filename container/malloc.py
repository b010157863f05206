"""How the C library keeps memory that was freed.

Left alone it learns from the first large block that is freed to take such blocks from a heap of the
thread, and a heap returns memory only from its end: a photo of 50 megapixels, 435 MB while it is
decoded, stayed with its thread, and the next thread's came on top.
"""

import ctypes
import sys

M_MMAP_THRESHOLD = -3
LARGE_BYTES = 4 << 20
"""From here on a block is a mapping of its own, gone as soon as it is freed. Photos up to a
megapixel stay below, for which mapping and unmapping would cost more than it gives."""


def return_large_blocks() -> bool:
    """For this process and all its threads. False where the C library is another one."""
    if sys.platform != "linux":
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES))
    except (AttributeError, OSError):  # musl has no mallopt, and returns memory by itself
        return False
