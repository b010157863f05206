"""The photos of a folder tree of channels, for a network that has been trained before."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from artifact.archive import Description
from artifact.preprocess import EXTENSIONS
from container.failure import ChannelError, DataError
from container.opt_ml import Job
from train import batches, channels
from train.answers import Answers
from train.batches import Loader
from train.compiled import material
from train.compiled.order import UNKNOWN, Photos
from train.index import Index

MOST_LISTED = 100_000


def photos(job: Job, described: Description) -> Photos | None:
    """Decoded for the network, with its own classes as targets where folders are named like them,
    else with none. None where there are no photos."""
    found = _labelled(job, described) or _plain(job.paths.data)
    if found is None:
        return None
    train, held_out = found
    answers = Answers(len(held_out), len(described.labels))  # nothing has been answered yet
    size = described.preprocessing.image_size

    def loader(index: Index, augmentation: str) -> Loader:
        source = batches.Photos(index, described.preprocessing, augmentation, 0)
        plan = batches.plan(-1, 8 * size**2 * 3, "cpu", 0)
        return Loader(source, 8, 8, plan, pin=False, stay=False)

    return material.gather(loader, train, held_out, answers, material.LONG_SECONDS, size, 0, _never)


def _never() -> bool:
    return False


def _labelled(job: Job, described: Description) -> tuple[Index, Index] | None:
    """Photos to learn and held-out ones, as a training job reads its channels."""
    try:
        splits = channels.read(job.inputs, 0)
    except (ChannelError, DataError):
        return None
    held_out = splits.test or splits.validation
    known = {label: at for at, label in enumerate(described.labels)}
    places = np.array([known.get(label, UNKNOWN) for label in splits.labels])
    if not held_out.multi_label:
        classes = places[held_out.targets].astype(np.int32)
        return splits.train, replace(held_out, targets=classes)
    if (places == UNKNOWN).any() or not described.multi_label:
        return None
    several = np.zeros((len(held_out), len(described.labels)), np.uint8)
    several[:, places] = held_out.targets
    return splits.train, replace(held_out, targets=several)


def _plain(data: Path) -> tuple[Index, Index] | None:
    """All photos there are, without labels: half to calibrate with, half to judge with."""
    names: list[str] = []
    for folder, _, files in os.walk(data, followlinks=True):
        inside = Path(folder).relative_to(data)
        names += [str(inside / name) for name in files if name.lower().endswith(EXTENSIONS)]
        if len(names) >= MOST_LISTED:
            break
    if len(names) < 2:
        return None
    index = Index.of("photos", data, [(name, UNKNOWN) for name in sorted(names)])
    order = np.random.default_rng(0).permutation(len(index))
    half = len(order) // 2
    return index.take(order[:half]), index.take(order[half:])
