"""Whether the GPUs of this machine run this build's kernels; in a process of its own, for torch is
large and may die of a bad driver."""

import subprocess
import sys
from collections.abc import Iterator

from container import resources
from doctor.check import Finding, ok, problem

SECONDS = 120


def gpus() -> Iterator[Finding]:
    count = resources.gpu_count()
    if not count:
        yield ok("gpu", "none here")
        return
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "doctor.kernels", str(count)],
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        yield problem("gpu", f"no answer within {SECONDS} s", "restart the machine's driver")
        return
    if done.returncode == 0:
        yield ok("gpu", done.stdout.strip())
        return
    said = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
    fix = said[-1] if len(said) > 1 else "take an instance whose driver fits this build"
    yield problem("gpu", said[-2] if len(said) > 1 else said[0], fix)
