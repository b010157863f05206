"""Where features are kept: a folder that outlives the job, if there is one with room."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

FOLDER = "features"
WARM_POOL = "SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY"
"""Environment variable: the folder that a warm pool's jobs hand on to each other."""

UPLOADED_BYTES = 1 << 30
"""The platform uploads the checkpoint folder as it grows and brings it back at a restart. Features
of 10,000 photos are 80 MB there, a tenth of the photos; far beyond, computing anew is quicker."""


def roots(checkpoints: Path | None, private: Path | None, needed: int) -> Iterator[Path]:
    """The best first; `needed` bytes at most will lie there."""
    pool = os.environ.get(WARM_POOL)
    if pool:
        yield Path(pool) / FOLDER
    if checkpoints is not None and needed <= UPLOADED_BYTES:
        yield checkpoints / FOLDER
    if private is not None:
        yield private


def private() -> Path | None:
    """Of this job alone, for a shared name among temporary files could be anybody's. None where
    there is no such folder, as in a read-only container."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER}-"))
    except OSError:
        return None
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
