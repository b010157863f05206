"""How a job's photos are loaded: micro-batches, worker processes, and a loader per split."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from artifact.preprocess import Preprocessing
from container import resources
from train import batches, device
from train.batches import Batches, Loader, Photos
from train.channels import Splits
from train.gathered import Gathered
from train.hyperparameters import Hyperparameters
from train.index import Index
from train.progress import say
from train.schedule import Share


@dataclass(frozen=True)
class Loaders:
    train: Batches
    validation: Batches
    test: Batches
    """Of the validation split where there is no test split."""
    processes: int
    """That decode the train split's photos, in this process's name."""
    photos: Callable[[Index, str], Loader]
    """For one pass over chosen photos with an augmentation, by this process alone."""


def make(
    chosen: Hyperparameters,
    splits: Splits,
    preprocessing: Preprocessing,
    target: torch.device,
    precision: torch.dtype,
    gathered: Gathered,
) -> Loaders:
    """Planned from the network's cost, the processors and the shared memory; says what it chose."""
    flops = device.forward_flops(chosen.network, chosen.image_size)
    micro = device.micro_batch(chosen.batch_size, flops, target)
    evaluated = device.micro_batch(chosen.evaluation_batch_size, flops, target)
    plan = batches.plan(
        chosen.num_workers,
        max(micro, evaluated) * chosen.image_size**2 * 3,
        target.type,
        (resources.shared_memory_bytes() or 0) // resources.processes_here(),
    )
    if plan.note:
        say(f"note: {plan.note}")
    parts = f" in micro-batches of {micro}" if micro < chosen.batch_size else ""
    say(
        f"device: {target} ({resources.cpu_count()} processors), "
        f"precision {str(precision).removeprefix('torch.')}, {plan.workers} workers, "
        f"{chosen.batch_size} images per update{parts}, "
        f"augmentation {chosen.resolved_augmentation}"
    )
    pin = target.type == "cuda"

    def one_pass(index: Index, augmentation: str, share: Share | None = None) -> Loader:
        photos = Photos(index, preprocessing, augmentation, chosen.seed)
        return Loader(photos, evaluated, evaluated, plan, pin=pin, stay=False, share=share)

    augmented = Photos(
        splits.train, preprocessing, chosen.resolved_augmentation, chosen.seed,
        chosen.random_erasing,
    )  # fmt: skip
    tested = splits.test or splits.validation
    train = Loader(
        augmented,
        chosen.batch_size,
        micro,
        plan,
        pin=pin,
        stay=True,
        share=gathered.share(splits.train),
    )
    return Loaders(
        train=train,
        validation=one_pass(splits.validation, "none", gathered.share(splits.validation)),
        test=one_pass(tested, "none", gathered.share(tested)),
        processes=train.processes,
        photos=one_pass,
    )
