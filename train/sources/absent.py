"""Entries of a list whose files this host has not: where every host has a part of the photos they
are another's, and a mistake of the list where they are no host's.

Hosts with the same list tell each other a bit per line: a million entries are some 120 KB.
"""

import hashlib
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from container.failure import DataError
from train.sources.lines import lines
from train.sources.problems import SHOWN

Bits = NDArray[np.uint8]


class Absent:
    def __init__(self) -> None:
        self.list: Path | None = None
        self.numbers = array("q")
        """Of the lines."""

    def digest(self) -> str:
        """The same on hosts with the same list."""
        if self.list is None:
            return ""
        with self.list.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def bits(self) -> Bits:
        numbers = np.frombuffer(self.numbers, np.int64)
        absent = np.zeros(int(numbers.max(initial=-1)) + 1, np.bool_)
        absent[numbers] = True
        return np.packbits(absent)

    def check(self, said: Sequence[Bits]) -> None:
        """`said`: what all hosts with this list have not. Raises DataError where no host has it."""
        shortest = min(map(len, said))
        nowhere = np.bitwise_and.reduce([bits[:shortest] for bits in said])
        missing = np.flatnonzero(np.unpackbits(nowhere)).tolist()
        if missing and self.list is not None:
            named = set(missing[:SHOWN])
            raise DataError(
                f"{self.list.name}: {len(missing)} entries cannot be used",
                "list files of the channel only, with paths relative to it",
                [f"line {number}: no host has the file of {line!r:.200}"
                 for number, line in lines(self.list) if number in named],
            )  # fmt: skip
