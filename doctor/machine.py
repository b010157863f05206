"""The machine as the container sees it: processors, memory, disk, folders, user."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from container import resources
from container.opt_ml import Paths
from doctor.check import Finding, ok, problem, warning

MIB, GIB = 1 << 20, 1 << 30
LEAST_MEMORY = 2 * GIB
"""ResNet50 trains a head with it."""
LEAST_SHARED = 32 * MIB
"""For the batches of one worker."""
LEAST_DISK = 2 * GIB
"""Checkpoints and a model of ResNet50, several times."""


def processors() -> Iterator[Finding]:
    quota, count = resources.cpu_quota(), resources.cpu_count()
    cut = f", by a quota of {quota:g}" if quota else ""
    yield ok("processors", f"{count}{cut}")


def memory() -> Iterator[Finding]:
    limit = resources.memory().limit
    if limit is not None and limit < LEAST_MEMORY:
        yield problem(
            "memory", f"{limit / GIB:.1f} GiB", f"give the container {LEAST_MEMORY // GIB} GiB"
        )
        return
    yield ok("memory", "no limit" if limit is None else f"{limit / GIB:.1f} GiB")


def shared_memory() -> Iterator[Finding]:
    free = resources.shared_memory_bytes()
    if free is None or free < LEAST_SHARED:
        found = "no /dev/shm" if free is None else f"{free / MIB:.0f} MiB free in /dev/shm"
        yield warning(
            "shared memory", f"{found}: photos are decoded in the training process alone",
            "give the container a larger --shm-size",
        )  # fmt: skip
        return
    yield ok("shared memory", f"{free / MIB:,.0f} MiB free")


def disk(paths: Paths) -> Iterator[Finding]:
    for folder in dict.fromkeys([_nearest(paths.root), Path(tempfile.gettempdir())]):
        free = shutil.disk_usage(folder).free
        if free < LEAST_DISK:
            yield problem(
                "disk", f"{folder} has {free / MIB:,.0f} MiB free",
                f"raise VolumeSizeInGB, or mount a volume with {LEAST_DISK // GIB} GiB",
            )  # fmt: skip
        else:
            yield ok("disk", f"{folder} has {free / GIB:,.1f} GiB free")


def _nearest(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def folders(paths: Paths) -> Iterator[Finding]:
    """Written to by a job; a read-only `/opt/ml/model` is right for an endpoint, not for a job."""
    who = f"user {os.getuid()}:{os.getgid()}"
    closed = [folder for folder in (paths.model, paths.output, paths.checkpoints)
              if not os.access(_nearest(folder), os.W_OK | os.X_OK)]  # fmt: skip
    if closed:
        yield problem(
            "permissions", f"{who} may not write {', '.join(map(str, closed))}",
            "mount them writable, or make them the user's; an endpoint alone needs none of them",
        )  # fmt: skip
    unreadable = [str(path) for path in _given(paths) if not os.access(path, os.R_OK)]
    if unreadable:
        yield problem(
            "permissions", f"{who} may not read {', '.join(unreadable[:5])}",
            "chmod -R a+rX the folder that is mounted",
        )  # fmt: skip
    if not closed and not unreadable:
        yield ok("permissions", f"{who} may read and write where a job does")


def _given(paths: Paths) -> Iterator[Path]:
    """Configuration, and the channels' own folders."""
    for folder in (paths.config, paths.data):
        if os.access(folder, os.R_OK | os.X_OK):
            yield from folder.iterdir()
        elif folder.exists():
            yield folder
