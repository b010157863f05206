"""Where a job ran: what is needed to repeat it or to explain its speed, and nothing secret.

Environment variables are never read for it: they carry keys.
"""

import platform

import torch

from container import resources
from train import export


def describe(job: str, device: torch.device, dtype: torch.dtype) -> dict[str, str]:
    memory = resources.memory()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    found = {
        "job": job,
        "device": f"{device.type}, {name}",
        "precision": str(dtype).removeprefix("torch."),
        "processors": str(resources.cpu_count()),
        "memory limit": _gib(memory.limit),
        "most memory used": _gib(memory.peak),
        "shared memory free": _gib(resources.shared_memory_bytes()),
        "kernel": f"{platform.system()} {platform.release()}",
    }
    return {key: value for key, value in {**found, **export.versions()}.items() if value}


def _gib(count: int | None) -> str:
    return "" if count is None else f"{count / (1 << 30):.2f} GiB"
