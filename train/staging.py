"""Where files are written before a rename takes them, whole, to where the platform uploads them."""

import shutil
import tempfile
from pathlib import Path

PARTIAL = ".partial-"
"""A name that begins so is of something half-written."""


def folder(outside: Path | None, inside: Path) -> Path:
    """`outside`, emptied, where a rename leads from there into `inside`; else that itself."""
    if outside is None:
        return inside
    shutil.rmtree(outside, ignore_errors=True)  # what a killed run left
    if leads(outside, inside):
        return outside
    shutil.rmtree(outside, ignore_errors=True)
    return inside


def leads(outside: Path, folder: Path) -> bool:
    """Whether a rename leads to `folder` from `outside`, which is made. Asked by doing it: none
    crosses mounts, even where both are of one volume. Where the platform mounts the checkpoints
    alone, it fails, and hidden names in them serve."""
    try:
        outside.mkdir(parents=True, exist_ok=True)
        # a folder: the platform uploads files
        probe = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=outside))
        try:
            probe.rename(folder / probe.name)
        except OSError:
            probe.rmdir()
            raise
        (folder / probe.name).rmdir()
    except OSError:
        return False
    return True
