"""The photos of a job: listed, looked at, counted, before anything is trained."""

import hashlib
import os
from pathlib import Path

import numpy as np

from container.opt_ml import Job
from train import channels
from train.channels import Splits
from train.doctor import checkup, policy
from train.doctor.examine import Folders
from train.gathered import Gathered
from train.hyperparameters import Hyperparameters
from train.index import joined
from train.progress import say

CACHE_FOLDER = "SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY"
"""Environment variable: a folder that jobs of one warm pool share."""

LISTED_CLASSES = 50
"""Up to so many classes the start-up table names each."""


def read_splits(job: Job, chosen: Hyperparameters, gathered: Gathered) -> Splits:
    """Lists and checks every photo, prints what was found. Raises ChannelError or DataError."""
    splits = channels.read(job.inputs, chosen.seed, gathered.labels)
    gathered.compare(splits)
    for note in splits.notes:
        say(f"note: {note}")
    seed = chosen.seed
    splits.train = channels.subset(splits.train, chosen.train_fraction, seed)
    splits.validation = channels.subset(splits.validation, chosen.validation_fraction, seed)
    if splits.test is not None:
        splits.test = channels.subset(splits.test, chosen.test_fraction, seed)
    _check(job, chosen, splits, gathered)
    if chosen.train_on_validation:
        say(f"note: train_on_validation: the {len(splits.validation)} validation photos are "
            "learned, too; what is measured on them says nothing of new photos")  # fmt: skip
        splits.train = joined(splits.train, splits.validation)
    channels.check_classes(splits, gathered.counts(splits.train, len(splits.labels)))
    _print_table(splits, gathered)
    return splits


def _check(job: Job, chosen: Hyperparameters, splits: Splits, gathered: Gathered) -> None:
    """The doctor's visit: leaves out what cannot be used."""
    named = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    given = {name: index for name, index in named.items() if index is not None}
    cache = os.environ.get(CACHE_FOLDER)
    gone, splits.findings, contents = checkup.check(
        given,
        splits.labels,
        chosen.data_policy,
        chosen.bad_file_limit,
        Folders(
            job.paths.checkpoints / "doctor",  # of a shard, every host
            Path(cache) / "doctor" if cache else None,
            job.paths.output / ".doctor",
        ),
        job.paths.output_data,
        say,
        gathered,
    )
    used = {name: policy.used(index, gone[name]) for name, index in given.items()}
    splits.train, splits.validation = used["train"], used["validation"]
    splits.test = used.get("test")
    splits.contents = gathered.contents(
        [np.delete(contents[name], gone[name]) for name in ("train", "validation")]
        if contents is not None
        else []
    )


def _print_table(splits: Splits, gathered: Gathered) -> None:
    """Of the photos of all hosts."""
    given = list(splits.indexes.items())
    counts = {name: gathered.counts(index, len(splits.labels)) for name, index in given}
    say(f"photos: {', '.join(f'{gathered.share(index).total} {name}' for name, index in given)}; "
        f"{len(splits.labels)} classes")  # fmt: skip
    for at, label in enumerate(splits.labels[:LISTED_CLASSES]):
        say(f"  {label}: {', '.join(f'{counts[name][at]} {name}' for name, _ in given)}")
    if len(splits.labels) > LISTED_CLASSES:
        per_class = counts["train"]
        say(f"  and {len(splits.labels) - LISTED_CLASSES} more classes; train photos per class: "
            f"{per_class.min()} to {per_class.max()}")  # fmt: skip


def data_key(splits: Splits) -> str:
    """The same for the same names and targets: a checkpoint belongs to its data. What the photos
    hold is compared apart, for not every start knows it of all."""
    digest = hashlib.sha256()
    for index in (splits.train, splits.validation):
        digest.update(index.names.tobytes())
        digest.update(index.targets.tobytes())
        if index.pieces:
            digest.update(index.pieces.length.tobytes())
    return digest.hexdigest()[:16]
