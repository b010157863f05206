"""Whether a run's checkpoints and model fit the volume: known before the start, not after hours."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from container.failure import DiskFullError
from train.checkpoint import Part

SHARE = 0.6
"""Part of the free space that a run may plan for: photos, logs and others grow beside it."""

MIB = 1 << 20


def weights_bytes(network: Part) -> int:
    return sum(value.nbytes for value in network.state_dict().values())


def checkpoint_bytes(
    network: nn.Module, optimizer: torch.optim.Optimizer, parts: Mapping[str, Part]
) -> int:
    """Of one checkpoint once training is under way: weights, the best weights, `parts`, and what
    the optimizer will keep beside every weight that it trains."""
    beside = 2
    if isinstance(optimizer, torch.optim.SGD):
        beside = int(bool(optimizer.defaults["momentum"]))
    trained: int = sum(each.nbytes for group in optimizer.param_groups for each in group["params"])
    more = sum(weights_bytes(part) for part in parts.values())
    return 2 * weights_bytes(network) + beside * trained + more


def kept(asked: int, each: int, model: int, free: int, folder: Path) -> tuple[int, str]:
    """How many checkpoints of `each` bytes are kept, `asked` or fewer, and a line that says why.
    Raises DiskFullError where not even one fits beside the next one and the model."""
    for number in range(asked, 0, -1):
        planned = each * (number + 1) + model
        if planned <= SHARE * free:
            fewer = "" if number == asked else f", not {asked}: more would not fit"
            return number, (
                f"checkpoints: {number} of {_mib(each)} kept{fewer}; with the one being written "
                f"and the model {_mib(planned)} of {_mib(free)} free"
            )
    raise DiskFullError(
        f"checkpoints of {_mib(each)} and a model of {_mib(model)} need {_mib(each * 2 + model)}, "
        f"more than {SHARE:.0%} of the {_mib(free)} free at {folder}"
    )


def free_bytes(folder: Path, present: list[Path]) -> int:
    """Of the volume, when the earlier checkpoints of this run have been replaced."""
    old = sum(file.stat().st_size for path in present for file in path.rglob("*") if file.is_file())
    return shutil.disk_usage(folder).free + old


def same_volume(one: Path, other: Path) -> bool:
    """`other` may not be there yet."""
    while not other.exists():
        other = other.parent
    return one.stat().st_dev == other.stat().st_dev


def _mib(size: int) -> str:
    return f"{size / MIB:,.1f} MiB"
