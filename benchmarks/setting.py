"""What a figure belongs to: date, machine, versions, command. Without it a figure says nothing."""

import json
import os
import platform
import shlex
import subprocess
import sys
from dataclasses import fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from benchmarks import servers
from container.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "flask", "gunicorn")
TUNING = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "ONEDNN_", "DNNL_", "TORCH_", "CUDA_")
"""Environment variables that change a figure start so, or are settings of the server."""
GIB = 1 << 30

ASK_IMAGE = f"""
import json, platform
from importlib.metadata import version
found = {{name: version(name) for name in {PACKAGES!r}}}
print(json.dumps({{"python": platform.python_version(), **found}}))
"""


def describe(name: str, image: str | None = None) -> dict[str, Any]:
    """`name` is the benchmark's; versions are those in `image`, where it is given."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
        "revision": _revision(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        # of the minute before: a busy machine measures its other work
        "load_average_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "environment": _environment(),
        "image": image,
        "versions": _versions(image),
    }


def _versions(image: str | None) -> dict[str, str]:
    if image is None:
        found = {name: metadata.version(name) for name in PACKAGES}
        return {"python": platform.python_version(), **found}
    options = ["--rm", "--network", "none", "--entrypoint", "python"]
    answer = servers.docker("run", *options, image, "-P", "-c", ASK_IMAGE)
    versions: dict[str, str] = json.loads(answer) if answer else {}
    return versions


def _environment() -> dict[str, str]:
    settings = {name for setting in fields(Settings) for name in setting.metadata["names"]}
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name in settings or name.startswith(TUNING)
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _revision() -> str | None:
    """Of the source; `-dirty` where it differs from the commit."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None
