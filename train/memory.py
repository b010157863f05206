"""Out of memory in a forward or backward pass: tried once more with fewer photos at a time.

The update is the same: as many photos, in more parts. Only batch normalisation sees smaller ones.
"""

import re

import torch

from container import failure, resources
from container.failure import GpuMemoryError, HostMemoryError
from train.progress import say

GIB = 1 << 30


def smaller(error: BaseException, images: int, update: int, tried: int | None) -> int:
    """Most photos in a micro-batch from here on, said in a line. `images` did not fit, `update` is
    the whole mini-batch, `tried` what an earlier call answered. Raises `error` itself where it is
    about something else, and a Failure with the numbers where there is no second attempt."""
    failed = failure.classify(error)
    if not isinstance(failed, GpuMemoryError | HostMemoryError):
        raise error
    cause = re.sub(r"^\[enforce fail at [^]]*\] err == 0\. ", "", failed.cause)
    half = images // 2
    if tried is not None or half < 2:
        again = f", after the micro-batches were cut to {tried}" if tried is not None else ""
        raise type(failed)(
            f"out of memory with {images} photos at a time{again}: {cause}{_limits()}"
        ) from error
    say(
        f"warning: out of memory with {images} photos at a time ({cause}); from here on "
        f"{half}, still {update} per update"
    )
    return half


def _limits() -> str:
    if torch.cuda.is_available():
        return ""  # the message has them
    memory = resources.memory()
    if not memory.limit or not memory.peak:
        return ""
    return f" (peak {memory.peak / GIB:.1f} of {memory.limit / GIB:.1f} GiB)"
