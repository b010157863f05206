"""What a source collects while it reads: names, labels and places, a few bytes per photo.

Whatever the format, the finished index has its photos in one order: by class, and in it by name. So
the same photos give the same run, however they are packed.
"""

import unicodedata
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from container.failure import DataError
from pages.markup import shown
from train.index import Index, Targets
from train.pieces import Form, Pieces

Names = dict[int, str]
"""Class number -> its name, where a format has numbers."""

LONGEST_LABEL = 256


class LabelError(ValueError):
    """A label cannot be one; says why."""


@dataclass(frozen=True)
class Listed:
    """One split as its source has it."""

    index: Index
    labels: list[str]
    """Of the targets; those that a photo has."""


def label(text: str) -> str:
    """A class's name as it is shown everywhere. Raises LabelError."""
    # archives of a Mac spell an accented letter as two characters, others as one
    name = shown(unicodedata.normalize("NFC", text.strip()))
    if not name:
        raise LabelError("the label is empty")
    if len(name) > LONGEST_LABEL:
        raise LabelError(f"the label has {len(name)} characters; at most {LONGEST_LABEL} can be")
    return name


class Samples:
    """`add` one photo after the other, then `listed`."""

    def __init__(
        self, channel: str, root: Path, files: tuple[str, ...] = (), form: Form | None = None
    ) -> None:
        self.channel, self.root, self.files, self.form = channel, root, files, form
        self.several = False
        """Whether photos have several labels, or none."""
        self.numbers: dict[str, int] = {}
        self._names, self._ends = bytearray(), array("q")
        self._labels, self._label_ends = array("i"), array("q")
        self._file, self._offset, self._length = array("i"), array("q"), array("q")

    def __len__(self) -> int:
        return len(self._ends)

    def know(self, labels: Iterable[str]) -> None:
        """Labels that there are, whether or not a photo has them."""
        for one in labels:
            self.numbers.setdefault(one, len(self.numbers))

    def add(
        self, name: str, labels: Iterable[str], place: tuple[int, int, int] = (0, 0, 0)
    ) -> None:
        """`place` is the number of the file that holds the photo, and where in it."""
        self._names += name.encode("utf-8", "surrogateescape")
        self._ends.append(len(self._names))
        for one in labels:
            self._labels.append(self.numbers.setdefault(one, len(self.numbers)))
        self._label_ends.append(len(self._labels))
        if self.form is not None:
            for column, value in zip((self._file, self._offset, self._length), place, strict=True):
                column.append(value)

    def listed(self, names: Names | None = None) -> Listed:
        """Sorted; labels by alphabet, or where `names` are given as numbers, which become those.
        Raises DataError where they do not fit."""
        labels = _in_order(list(self.numbers), names, self.channel)
        rank = np.zeros(len(self.numbers), np.int32)
        for at, (_, token) in enumerate(labels):
            rank[self.numbers[token]] = at
        targets = self._targets(rank)
        index = Index(
            self.channel,
            self.root,
            np.frombuffer(self._names, np.uint8),
            np.frombuffer(self._ends, np.int64),
            targets,
            self._pieces(),
        )
        return _used(Listed(index.take(_order(index)), [name for name, _ in labels]))

    def _targets(self, rank: NDArray[np.int32]) -> Targets:
        found = rank[np.frombuffer(self._labels, np.int32)]
        if not self.several:
            return found
        rows = np.zeros((len(self), len(rank)), np.uint8)
        counts = np.diff(np.frombuffer(self._label_ends, np.int64), prepend=0)
        rows[np.repeat(np.arange(len(self)), counts), found] = 1
        return rows

    def _pieces(self) -> Pieces | None:
        if self.form is None:
            return None
        return Pieces(
            self.files,
            self.form,
            np.frombuffer(self._file, np.int32),
            np.frombuffer(self._offset, np.int64),
            np.frombuffer(self._length, np.int64),
        )


def _in_order(tokens: list[str], names: Names | None, channel: str) -> list[tuple[str, str]]:
    """(label, token) of each class: numbers in their order, with their names; texts by alphabet."""
    if names is None or not all(map(_is_number, tokens)):
        return [(token, token) for token in sorted(tokens)]
    ordered = sorted(tokens, key=int)
    unnamed = [token for token in ordered if int(token) not in names]
    if names and unnamed:
        raise DataError(
            f"{channel}: classes {', '.join(unnamed[:10])} have no name; "
            f"{len(names)} names are given, for {min(names)} to {max(names)}",
            "name every class, or none",
        )
    named = [(names.get(int(token), token), token) for token in ordered]
    told: dict[str, str] = {}
    for name, token in named:
        if told.setdefault(name, token) != token:
            raise DataError(
                f"{channel}: classes {told[name]} and {token} are both named {name!r}",
                "give every class a name of its own",
            )
    return named


def _is_number(token: str) -> bool:
    """`007` is a name."""
    return token.isdecimal() and len(token) < 9 and token == str(int(token))


def _order(index: Index) -> NDArray[np.int64]:
    """By class and name; photos with several labels by name alone."""
    groups = np.zeros(len(index), np.int32) if index.multi_label else index.targets
    by_class = np.argsort(groups, kind="stable")
    edges = np.flatnonzero(np.diff(groups[by_class])) + 1
    for members in np.split(by_class, edges):  # views: a class is sorted where it stands
        names = [index.raw_name(int(at)) for at in members]
        members[:] = members[sorted(range(len(names)), key=names.__getitem__)]
    return by_class


def _used(listed: Listed) -> Listed:
    """Without classes that no photo has: such a class cannot be learned."""
    used = listed.index.counts(len(listed.labels)) > 0
    if used.all():
        return listed
    labels = [name for name, keep in zip(listed.labels, used, strict=True) if keep]
    return Listed(relabelled(listed.index, listed.labels, labels), labels)


def relabelled(index: Index, before: list[str], after: list[str]) -> Index:
    """The same photos with targets into `after`, which has every label that a photo has."""
    places = {name: at for at, name in enumerate(after)}
    if index.multi_label:
        rows = np.zeros((len(index), len(after)), np.uint8)
        kept = [at for at, name in enumerate(before) if name in places]
        rows[:, [places[before[at]] for at in kept]] = index.targets[:, kept]
        return replace(index, targets=rows)
    table = np.asarray([places.get(name, -1) for name in before], np.int32)
    return replace(index, targets=table[index.targets])
