"""Which trials keep their weights, and whether the volume has room for the search."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from container.failure import DiskFullError

MODEL, CHECKPOINTS = "model", "checkpoints"
"""Of a trial's folder; its log, metrics, pictures and report stay."""
OPTIMIZER = 3
"""A checkpoint's size over its weights': two more tensors of each for Adam's averages."""
COPIES = 3
"""Checkpoints that a running trial has at a time, with the one that is being written."""


class Keep:
    """The best `count` trials keep their models."""

    def __init__(self, count: int) -> None:
        self.count = count

    def after(self, finished: Path, ranked: Sequence[Path]) -> None:
        """`finished` has ended; `ranked` are all complete trials, the best first."""
        shutil.rmtree(finished / CHECKPOINTS, ignore_errors=True)
        for folder in {finished, *ranked} - set(ranked[: self.count]):
            shutil.rmtree(folder / MODEL, ignore_errors=True)

    def budget(self, finished: Sequence[Path], left: int, parallel: int) -> str:
        """From what the finished trials have written, how much the others will; a line for the log.
        Raises DiskFullError where the volume has less."""
        model = max(size(folder / MODEL) for folder in finished)
        rest = max(size(folder) - size(folder / MODEL) for folder in finished)
        running = model * (1 + OPTIMIZER * COPIES)
        needed = left * rest + self.count * model + parallel * running
        free = shutil.disk_usage(finished[0]).free
        line = f"{left} more trials take about {needed >> 20:,} MiB of {free >> 20:,} MiB free"
        if needed > free:
            raise DiskFullError(
                f"the volume has no room for the search: {line}",
                "lower TUNE_KEEP_MODELS or MaxParallelTrainingJobs, or take a larger volume",
            )
        return f"disk: {line}; the best {self.count} keep their weights"


def size(path: Path) -> int:
    """Bytes of a folder's own files; links are not followed."""
    total = 0
    for each in path.rglob("*"):
        if each.is_file() and not each.is_symlink():
            total += each.stat().st_size
    return total
