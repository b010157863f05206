"""What the network computes on: device, arithmetic, and the size of a micro-batch."""

from functools import cache
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from artifact import network as networks
from container import resources
from container.failure import DeviceError

MICRO_FLOPS = 1.4e11
"""Floating-point operations of one forward pass of a micro-batch on a CPU: 17 photos through
ResNet50. Two cores take about 5 s for it and its gradients, four times that when others load them,
and a stop waits for no more."""

BF16_FLAGS = ("amx_bf16", "avx512_bf16")
"""Processor flags of units that multiply in bfloat16; without them it is emulated, and slower."""


def pick(number: int = 0) -> torch.device:
    """The GPU of that number, else the CPU. Raises DeviceError where a GPU is there, but no use."""
    if not torch.cuda.is_available():
        if resources.gpu_count() and torch.version.cuda:
            raise DeviceError(
                f"{resources.gpu_count()} GPUs are there, but CUDA {torch.version.cuda} of this "
                "build finds none: the driver is too old, or was not passed to the container"
            )
        return torch.device("cpu")
    device = torch.device("cuda", number)
    torch.cuda.set_device(device)
    try:
        torch.ones(8, device=device).sum().item()
    except RuntimeError as error:
        name = torch.cuda.get_device_name(device)
        raise DeviceError(
            f"{name} cannot run this build's kernels ({' '.join(torch.cuda.get_arch_list())}): "
            f"{str(error).splitlines()[0]}"
        ) from error
    return device


def bfloat16_pays(device: torch.device, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        flags = cpuinfo.read_text()
    except OSError:
        return False
    return any(flag in flags for flag in BF16_FLAGS)


def precision(asked: str, device: torch.device) -> torch.dtype:
    if asked == "auto":
        return torch.bfloat16 if bfloat16_pays(device) else torch.float32
    dtype: torch.dtype = getattr(torch, asked)
    return dtype


@cache
def forward_flops(network: str, image_size: int) -> int:
    """Operations of one photo's forward pass; computed without computing, on shapes alone."""
    with networks.WithoutWeights():
        shapes = networks.build(network, 2, image_size=image_size).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with counter:
        shapes(torch.empty(1, 3, image_size, image_size, device="meta"))
    return max(1, counter.get_total_flops())


def micro_batch(batch_size: int, flops: int, device: torch.device) -> int:
    """Most images in one forward pass. On a CPU bounded in time, so that a stop is heard, and in
    memory; it depends on the network and the size alone, so that runs repeat."""
    if device.type != "cpu":
        return batch_size
    return min(batch_size, max(2, int(MICRO_FLOPS // flops)))
