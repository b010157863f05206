"""Channels -> splits: what each is read from, and one list of classes for all of them.

Classes are matched by name: a number would shift silently where a class is missing in one of them.
"""

import heapq
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from container.failure import DataError
from container.opt_ml import Channel
from train.doctor.findings import Findings
from train.index import Index, stratified
from train.sources import class_names, formats, layout, pipe
from train.sources.absent import Absent
from train.sources.layout import SPLITS, Origin
from train.sources.request import ContentType, Request
from train.sources.samples import Listed, Names, relabelled

HELD_OUT = 0.2
"""Part of the train split that validates where no validation split is given."""


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
    contents: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    """A hash of each train, then of each validation photo, of all hosts; 0 if it was not seen."""
    absent: dict[str, Absent] = field(default_factory=dict)
    """Split -> what its list has and this host has not, where every host has a part."""

    @property
    def indexes(self) -> dict[str, Index]:
        """Those that there are."""
        given = {"train": self.train, "validation": self.validation, "test": self.test}
        return {split: index for split, index in given.items() if index is not None}

    @property
    def sharded(self) -> bool:
        """Whether each host has photos of its own in any split; `Index.sharded` tells which."""
        return any(index.sharded for index in self.indexes.values())


def read(
    channels: Mapping[str, Path | Channel],
    seed: int,
    agree: Callable[[list[str]], list[str]] = lambda labels: labels,
) -> Splits:
    """Lists the photos of all splits. `agree` turns this host's labels into those of all hosts, of
    which this one may have a part only. Raises ChannelError or DataError."""
    given = {name: each if isinstance(each, Channel) else Channel(each)
             for name, each in channels.items()}  # fmt: skip
    notes: list[str] = []
    origins = layout.origins(given, notes)
    absent = {split: Absent() for split, origin in origins.items() if origin.sharded}
    listed = _listed(origins, absent, notes)
    labels = agree(listed["train"].labels)
    if len(labels) < 2:
        raise DataError(
            f"classes with photos in the train split: {len(labels)} "
            f"({', '.join(labels) or 'none'}); a classifier needs two",
            "give every class photos in the train channel",
        )
    _match_classes(labels, listed, notes)
    made = {split: relabelled(one.index, one.labels, labels) for split, one in listed.items()}
    train, validation = made["train"], made.get("validation")
    if validation is None:
        # the larger part first: a class of one photo trains, for it cannot do both
        kept, held = stratified(train.targets, 1 - HELD_OUT, seed)
        notes.append(f"no validation split: {HELD_OUT:.0%} of each train class held out for it")
        train, validation = train.take(kept), train.take(held)
    return Splits(labels, train, validation, made.get("test"), notes, absent=absent)


def _listed(
    origins: dict[str, Origin], absent: dict[str, Absent], notes: list[str]
) -> dict[str, Listed]:
    """Split -> its photos. The train channel may name the classes of all."""
    names = _class_names(origins["train"], dict)
    found = {}
    for split in sorted(origins, key=list(SPLITS).index):
        one = _list(split, origins[split], names, absent.get(split), notes)
        found[split] = replace(one, index=replace(one.index, sharded=origins[split].sharded))
    several = [split for split, one in found.items() if one.index.multi_label]
    if several and len(several) < len(found):
        notes.append(f"{', '.join(several)}: several labels a photo, one in the other splits")
    return found


def _list(
    split: str,
    origin: Origin,
    otherwise: Callable[[], Names],
    absent: Absent | None,
    notes: list[str],
) -> Listed:
    content_type = ContentType.parse(origin.channel.content_type, split)
    names = _class_names(origin, otherwise)
    if origin.folder is None:
        spooled = pipe.spool(split, origin.channel)
        folder = layout.empty(spooled.parent)
        return pipe.read(Request(split, folder, content_type, class_names=names), spooled)
    return formats.read(
        Request(split, origin.folder, content_type, origin.lists, names, (), notes, absent)
    )


def _class_names(origin: Origin, otherwise: Callable[[], Names]) -> Callable[[], Names]:
    """Reads them when they are needed: beside class folders such a file is anybody's."""
    folder = origin.lists or origin.folder
    return cache(lambda: (class_names.read(folder) if folder else {}) or otherwise())


def _match_classes(labels: list[str], listed: dict[str, Listed], notes: list[str]) -> None:
    for split, one in listed.items():
        extra = sorted(set(one.labels) - set(labels))
        if extra:
            raise DataError(
                f"{split} has {len(extra)} classes that train has no photos of: "
                f"{', '.join(extra[:10])}",
                "add photos of them to train, or remove them",
            )
        missing = sorted(set(labels) - set(one.labels))
        if missing and not one.index.sharded:  # another host may have them: the doctor knows
            notes.append(
                f"{split} has no photos of {len(missing)} classes: {', '.join(missing[:10])}"
            )


def union(lists: Sequence[list[str]]) -> list[str]:
    """The labels of several hosts as one list, which keeps the order that each of them has: shards
    may lack classes, and the class numbers of a manifest are no alphabet."""
    after: dict[str, set[str]] = {label: set() for labels in lists for label in labels}
    waits = dict.fromkeys(after, 0)
    for labels in lists:
        for before, label in zip(labels, labels[1:], strict=False):
            if label not in after[before]:
                after[before].add(label)
                waits[label] += 1
    ready = [(_natural(label), label) for label, count in waits.items() if not count]
    heapq.heapify(ready)
    ordered = []
    while ready:
        _, label = heapq.heappop(ready)
        ordered.append(label)
        for other in after[label]:
            waits[other] -= 1
            if not waits[other]:
                heapq.heappush(ready, (_natural(other), other))
    # hosts that contradict each other have no order to keep
    return ordered if len(ordered) == len(after) else sorted(after)


def _natural(label: str) -> tuple[int, str]:
    return (int(label) if re.fullmatch("[0-9]{1,18}", label) else -1, label)


def with_labels(splits: Splits, labels: list[str]) -> Splits:
    """The same photos with targets into `labels`, which has all that a photo has."""
    made = {split: relabelled(index, splits.labels, labels)
            for split, index in splits.indexes.items()}  # fmt: skip
    return replace(
        splits, labels=labels, train=made["train"], validation=made["validation"],
        test=made.get("test"),
    )  # fmt: skip


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
    return index.take(np.setdiff1d(np.arange(len(index)), np.fromiter(bad, np.int64)))
