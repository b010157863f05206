"""Channels -> splits: which folders hold what, and which files are photos of which class.

A split is a folder with one folder per class. Splits come as channels of their own, or as folders
of one channel, as published archives have them.
"""

import os
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artifact.preprocess import EXTENSIONS
from container.failure import ChannelError, DataError
from train.doctor.findings import Findings
from train.index import Index, shown, stratified

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test",),
}
"""Split -> names of its channel, or of its folder inside one channel."""

OTHER_CHANNELS = ("pretrained", "model", "code", "sm_drivers")
"""Channels that hold no photos."""

HELD_OUT = 0.2
"""Part of the train split that validates where no validation split is given."""

# An image that nobody can decode here is a mistake worth naming; a read-me file is not.
FOREIGN_IMAGES = (".gif", ".heic", ".heif", ".avif", ".svg", ".psd", ".raw", ".cr2", ".nef", ".jp2")


@dataclass
class Splits:
    labels: list[str]
    train: Index
    validation: Index
    test: Index | None
    notes: list[str] = field(default_factory=list)
    """What a user should know about how the channels were read."""
    findings: Findings | None = None
    """What is wrong with the photos."""


def read(
    channels: dict[str, Path],
    seed: int,
    agree: Callable[[list[str]], list[str]] = lambda labels: labels,
) -> Splits:
    """Lists the files of all splits. `agree` turns this host's labels into those of all hosts, of
    which this one may have a part only. Raises ChannelError or DataError."""
    notes: list[str] = []
    folders = _folders(channels, notes)
    listed = {split: _classes(split, folder, notes) for split, folder in folders.items()}
    labels = agree(sorted(listed["train"]))
    if len(labels) < 2:
        raise DataError(
            f"classes with photos in the train split: {len(labels)} "
            f"({', '.join(labels) or 'none'}); a classifier needs two",
            "give every class a folder of its own in the train channel",
        )
    _match_classes(labels, listed, notes)
    numbers = {label: number for number, label in enumerate(labels)}
    made = {
        split: Index.of(
            split,
            folders[split],
            ((name, numbers[label]) for label in sorted(classes) for name in classes[label]),
        )
        for split, classes in listed.items()
    }
    train, validation = made["train"], made.get("validation")
    if validation is None:
        # the larger part first: a class of one photo trains, for it cannot do both
        kept, held = stratified(train.targets, 1 - HELD_OUT, seed)
        notes.append(f"no validation split: {HELD_OUT:.0%} of each train class held out for it")
        train, validation = train.take(kept), train.take(held)
    return Splits(labels, train, validation, made.get("test"), notes)


def _folders(channels: dict[str, Path], notes: list[str]) -> dict[str, Path]:
    """Split -> folder."""
    photos = {name: path for name, path in channels.items() if name not in OTHER_CHANNELS}
    found: dict[str, Path] = {}
    for split, names in SPLITS.items():
        given = [name for name in names if name in photos]
        if len(given) > 1:
            raise ChannelError(
                f"channels {' and '.join(given)} both mean the {split} split", "give one of them"
            )
        if given:
            found[split] = photos[given[0]]
    if "train" not in found and len(photos) == 1:
        name, found["train"] = next(iter(photos.items()))
        notes.append(f"channel {name!r} is the only one, so it is taken for train")
    if "train" not in found:
        names_given = ", ".join(sorted(channels)) or "none"
        raise ChannelError(f"no train channel; channels given: {names_given}")
    inside, beside = _split_folders(found["train"])
    if inside:
        if beside:
            notes.append(f"folders beside the splits ignored: {', '.join(map(shown, beside))}")
        both = sorted((inside.keys() & found.keys()) - {"train"})
        if both:
            raise ChannelError(
                f"{' and '.join(both)}: both a channel and a folder of the train channel",
                "give each split once",
            )
        notes.append(f"the train channel holds the splits {', '.join(sorted(inside))}")
        found.update(inside)
    return found


def _subfolders(folder: Path) -> list[Path]:
    try:
        entries = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir())
    except NotADirectoryError as error:
        raise ChannelError(f"{folder} is not a folder") from error
    return [Path(path) for path in entries if not Path(path).name.startswith((".", "__"))]


def _split_folders(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The splits inside one channel, also below one more folder, as archives are often packed; and
    the names of other folders beside them. Two splits with classes inside are no coincidence, so
    that `train`, `val` and `docs` are not taken for three classes."""
    for candidate in [folder, *(_subfolders(folder) if len(_subfolders(folder)) == 1 else [])]:
        names = {path.name.lower(): path for path in _subfolders(candidate)}
        splits = {
            split: names[name] for split, known in SPLITS.items() for name in known if name in names
        }
        beside = sorted(names.keys() - {path.name.lower() for path in splits.values()})
        if "train" not in splits:
            continue
        if not beside or (len(splits) > 1 and all(map(_subfolders, splits.values()))):
            return splits, beside
    return {}, []


def _classes(split: str, folder: Path, notes: list[str]) -> dict[str, list[str]]:
    """Class -> photo paths relative to `folder`; classes without photos are left out and named."""
    classes: dict[str, list[str]] = {}
    ignored: list[str] = []
    for class_folder in _subfolders(folder):
        names = list(_photos(class_folder, folder, ignored))
        # archives of a Mac spell an accented letter as two characters, others as one
        label = shown(unicodedata.normalize("NFC", class_folder.name))
        if names:
            classes.setdefault(label, []).extend(names)
        else:
            notes.append(f"{split}/{label}: no photos in this folder, so no class")
    if not classes:
        flat = [path.name for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS]
        seen = f"{len(flat)} photos lie in it without a class" if flat else "it holds no photos"
        raise ChannelError(f"the {split} channel has no class folders: {seen} ({folder})")
    if ignored:
        some = ", ".join(map(shown, ignored[:5])) + (", ..." if len(ignored) > 5 else "")
        notes.append(f"{split}: {len(ignored)} files that are no photos ignored: {some}")
    return classes


def _photos(class_folder: Path, root: Path, ignored: list[str]) -> Iterator[str]:
    for parent, folders, files in os.walk(class_folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        for name in sorted(files):
            path = os.path.relpath(os.path.join(parent, name), root)
            suffix = os.path.splitext(name)[1].lower()
            # objects in a bucket often have no extension: their bytes decide
            if name.startswith("."):
                continue
            if suffix in EXTENSIONS or suffix in FOREIGN_IMAGES or not suffix:
                yield path
            else:
                ignored.append(path)


def _raise(error: OSError) -> None:
    """A folder that may not be read is no empty one."""
    raise error


def _match_classes(
    labels: list[str], listed: dict[str, dict[str, list[str]]], notes: list[str]
) -> None:
    """Classes are matched by name: an index would shift silently where a folder is missing."""
    for split, classes in listed.items():
        extra = sorted(classes.keys() - set(labels))
        if extra:
            raise DataError(
                f"{split} has {len(extra)} classes that train has no photos of: "
                f"{', '.join(extra[:10])}",
                "add photos of them to train, or remove their folders",
            )
        missing = sorted(set(labels) - classes.keys())
        if missing:
            notes.append(
                f"{split} has no photos of {len(missing)} classes: {', '.join(missing[:10])}"
            )


def check_classes(splits: Splits, counts: NDArray[np.int64] | None = None) -> None:
    """Raises DataError where a class lost its last training photo, or a split its last at all.
    `counts` are those of all hosts, where this one has a part only."""
    counts = splits.train.counts(len(splits.labels)) if counts is None else counts
    empty = [label for label, images in zip(splits.labels, counts, strict=True) if not images]
    if empty:
        raise DataError(f"no usable train photos of {len(empty)} classes: {', '.join(empty[:10])}")
    for split, index in (("validation", splits.validation), ("test", splits.test)):
        if index is not None and not len(index):
            raise DataError(
                f"no usable photos for {split}", f"add photos to train, or give a {split} channel"
            )


def subset(index: Index, fraction: float, seed: int) -> Index:
    """A stratified part of a split."""
    if fraction >= 1:
        return index
    kept, _ = stratified(index.targets, fraction, seed)
    return index.take(kept)


def without(index: Index, bad: set[int]) -> Index:
    """The split without the samples at the positions `bad`."""
    keep = np.asarray([at for at in range(len(index)) if at not in bad], np.int64)
    return index.take(keep)
