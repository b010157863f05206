"""Runs a kernel on each of so many GPUs: `python -m doctor.kernels COUNT`."""

import sys

import torch

from container.failure import Failure
from train import device


def main(count: int) -> None:
    """Ends with the cause, and what would work, as the last two lines where one of them fails."""
    try:
        names = [torch.cuda.get_device_name(device.pick(number)) for number in range(count)]
    except Failure as failed:
        sys.exit(f"{failed.cause}\n{failed.fix}")
    print(f"{', '.join(names)}: kernels of CUDA {torch.version.cuda} run")


if __name__ == "__main__":
    main(int(sys.argv[1]))
