"""The photos of a job: listed, looked at, counted, before anything is trained."""

import hashlib

from container.opt_ml import Job
from train import channels, scan
from train.channels import Splits
from train.gathered import Gathered
from train.hyperparameters import Hyperparameters
from train.index import Index
from train.progress import Bar, say

LISTED_CLASSES = 50
"""Up to so many classes the start-up table names each."""


def read_splits(job: Job, chosen: Hyperparameters, gathered: Gathered) -> Splits:
    """Lists and checks every photo, prints what was found. Raises ChannelError or DataError."""
    splits = channels.read(job.channels, chosen.seed, gathered.labels)
    gathered.compare(splits)
    for note in splits.notes:
        say(f"note: {note}")
    seed = chosen.seed
    splits.train = _usable(
        channels.subset(splits.train, chosen.train_fraction, seed), chosen, gathered
    )
    splits.validation = _usable(
        channels.subset(splits.validation, chosen.validation_fraction, seed), chosen, gathered
    )
    if splits.test is not None:
        splits.test = _usable(
            channels.subset(splits.test, chosen.test_fraction, seed), chosen, gathered
        )
    channels.check_classes(splits, gathered.counts(splits.train, len(splits.labels)))
    _print_table(splits)
    return splits


def _usable(index: Index, chosen: Hyperparameters, gathered: Gathered) -> Index:
    bar = Bar(f"checking {index.channel}", len(index))
    bad, looked = gathered.scan(index, bar.advance)
    bar.close()
    if looked < len(index):
        say(f"note: {index.channel}: {looked} of {len(index)} photos checked in the time allowed; "
            "the rest is checked as it is read")  # fmt: skip
    return scan.drop(index, bad, chosen.bad_file_limit, say)


def _print_table(splits: Splits) -> None:
    named = [("train", splits.train), ("validation", splits.validation), ("test", splits.test)]
    given = [(name, index) for name, index in named if index is not None]
    counts = {name: index.counts(len(splits.labels)) for name, index in given}
    say(f"photos: {', '.join(f'{len(index)} {name}' for name, index in given)}; "
        f"{len(splits.labels)} classes")  # fmt: skip
    for at, label in enumerate(splits.labels[:LISTED_CLASSES]):
        say(f"  {label}: {', '.join(f'{counts[name][at]} {name}' for name, _ in given)}")
    if len(splits.labels) > LISTED_CLASSES:
        per_class = counts["train"]
        say(f"  and {len(splits.labels) - LISTED_CLASSES} more classes; train photos per class: "
            f"{per_class.min()} to {per_class.max()}")  # fmt: skip


def data_key(splits: Splits) -> str:
    """The same for the same files: a checkpoint belongs to its data."""
    digest = hashlib.sha256()
    for index in (splits.train, splits.validation):
        digest.update(index.names.tobytes())
        digest.update(index.targets.tobytes())
    return digest.hexdigest()[:16]
