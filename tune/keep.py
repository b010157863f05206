"""Which trials keep their weights, and whether the volume has room for the search."""

import shutil
from collections.abc import Sequence
from pathlib import Path

HEAVY = ("model", "checkpoints")
"""Of a trial's folder; its log, metrics, pictures and report stay."""


class DiskBudgetError(OSError):
    """The search would fill the volume."""


class Keep:
    """The best `count` trials keep their models."""

    def __init__(self, count: int) -> None:
        self.count = count

    def after(self, finished: Path, ranked: Sequence[Path]) -> None:
        """`finished` has ended; `ranked` are all complete trials, the best first."""
        kept = set(ranked[: self.count])
        for folder in {finished, *ranked} - kept:
            for name in HEAVY:
                shutil.rmtree(folder / name, ignore_errors=True)
        for folder in kept:
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def budget(first: Path, left: int, parallel: int, kept: int) -> str:
    """From what the first trial has written, how much all will; raises DiskBudgetError where the
    volume has less. Returns a line for the log."""
    heavy = sum(size(first / name) for name in HEAVY)
    light = size(first) - heavy
    # a trial's checkpoints are as large as its model, with the optimizer's state three times that
    needed = left * light + heavy * kept + 4 * heavy * parallel
    free = shutil.disk_usage(first).free
    line = f"disk: {needed >> 20:,} MiB for {left} more trials, {free >> 20:,} MiB free"
    if needed > free:
        raise DiskBudgetError(
            f"{line}; keep fewer models, run fewer trials side by side, or take a larger volume"
        )
    return line


def size(path: Path) -> int:
    """Bytes of a folder's own files; links are not followed."""
    total = 0
    for each in path.rglob("*"):
        if each.is_file() and not each.is_symlink():
            total += each.stat().st_size
    return total
