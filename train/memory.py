"""Out of memory in a forward or backward pass: tried once more with fewer photos at a time.

The update is the same: as many photos, in more parts. Only batch normalisation sees smaller ones.
Without an update a photo's answer does not depend on the others at all, nor a process on its peers.
"""

import re
from collections.abc import Callable

import torch

from container import failure, resources
from container.failure import GpuMemoryError, HostMemoryError
from train.progress import say

GIB = 1 << 30


class Room:
    """For evaluations: how many photos at a time memory does for."""

    def __init__(self) -> None:
        self.most: int | None = None

    def answers(
        self, compute: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor
    ) -> torch.Tensor:
        """What `compute` says of all `inputs`, in parts once they have been too many."""
        while True:
            size = min(len(inputs), self.most or len(inputs))
            try:
                return torch.cat([compute(part) for part in torch.split(inputs, size)])
            except (RuntimeError, MemoryError) as error:
                self.most = smaller(error, size, None, self.most)


def smaller(error: BaseException, images: int, update: int | None, tried: int | None) -> int:
    """Most photos in a micro-batch from here on, said in a line. `images` did not fit, `update` is
    the whole mini-batch, if there is one, `tried` what an earlier call answered. Raises `error`
    itself where it is about something else, and a Failure with the numbers where there is no second
    attempt."""
    failed = failure.classify(error)
    if not isinstance(failed, GpuMemoryError | HostMemoryError):
        raise error
    cause = re.sub(r"^\[enforce fail at [^]]*\] err == 0\. ", "", failed.cause)
    half = images // 2
    least = 1 if update is None else 2  # batch normalisation cannot learn from one
    if tried is not None or half < least:
        again = f", after the micro-batches were cut to {tried}" if tried is not None else ""
        raise type(failed)(
            f"out of memory with {images} photos at a time{again}: {cause}{_limits()}"
        ) from error
    still = "" if update is None else f", still {update} per update"
    say(
        f"warning: out of memory with {images} photos at a time ({cause}); from here on "
        f"{half}{still}"
    )
    return half


def _limits() -> str:
    if torch.cuda.is_available():
        return ""  # the message has them
    memory = resources.memory()
    if not memory.limit or not memory.peak:
        return ""
    return f" (peak {memory.peak / GIB:.1f} of {memory.limit / GIB:.1f} GiB)"
