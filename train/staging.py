"""Where files lie while they are written: not in a folder that the platform uploads as it is."""

import shutil
from pathlib import Path


def folder(outside: Path | None, inside: Path) -> Path:
    """`outside`, emptied, where a rename leads from there into `inside`; else that itself."""
    return outside if outside is not None and _leads(outside, inside) else inside


def _leads(outside: Path, inside: Path) -> bool:
    """Asked by doing it: no rename crosses mounts, even where both are of one volume. Where the
    platform mounts the checkpoints alone, it fails, and a hidden folder in them serves."""
    probe = inside / ".partial-probe"
    try:
        shutil.rmtree(outside, ignore_errors=True)  # what a killed run left
        outside.mkdir(parents=True)
        (outside / "probe").mkdir()
        (outside / "probe").rename(probe)
        probe.rmdir()
    except OSError:
        shutil.rmtree(outside, ignore_errors=True)
        return False
    return True
