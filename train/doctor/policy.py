"""What follows from the findings: which photos are used, or that the job ends.

| data_policy | files that cannot be decoded | train photos that another split holds too |
| --- | --- | --- |
| error | end the job | end the job, as do photos in two classes |
| skip | left out, up to bad_file_limit | left out of train |
| quarantine | the same, and copied into the output folder | the same, and copied |
"""

import numpy as np
from numpy.typing import NDArray

from container.failure import DataError
from train import channels
from train.doctor import copies
from train.doctor.examine import Seen
from train.doctor.findings import ERROR, KINDS, Findings
from train.doctor.look import BAD, LOOKED
from train.index import Index

ALWAYS_ALLOWED = 5
"""Bad files that never end a job by themselves: of 40 photos 1 % is none."""
MOST_LEAKED = 0.5
"""Part of a class's train photos that may be left out; where the splits share more, they were made
alike on purpose, or the class would vanish."""
SHOWN = 10

Positions = NDArray[np.int64]


def refuse(findings: Findings) -> None:
    """For data_policy=error. Raises DataError where there is any fault that harms."""
    errors = [kind for kind, (severity, _) in KINDS.items() if severity == ERROR]
    counts = {kind: findings.counts[kind] for kind in errors if findings.counts[kind]}
    if counts:
        raise DataError(
            "data_policy=error, and the photos have faults: "
            + ", ".join(f"{count} x {kind}" for kind, count in counts.items()),
            "repair or remove the files that doctor.json names, or set data_policy=skip",
            [f"{found.kind}: {' = '.join(found.names[:3])}: {found.reason}"
             for found in findings.of(*errors)[:SHOWN]],
        )  # fmt: skip


def check_limit(
    channel: str, bad: int, total: int, limit: float, policy: str, lines: list[str]
) -> None:
    """Raises DataError where too many files of a split turned out bad; `lines` name some."""
    allowed = 0 if policy == "error" else max(ALWAYS_ALLOWED, int(limit * total))
    if bad > allowed:
        raise DataError(
            f"{bad} of {total} files of {channel} cannot be used; the limit is {allowed}",
            "repair or remove them, or raise bad_file_limit",
            lines[:SHOWN],
        )


def left_out(seen: dict[str, Seen]) -> dict[str, tuple[Positions, Positions]]:
    """Split -> positions of bad files, and of photos that another split holds too."""
    return {
        split: (
            np.flatnonzero(each.flagged(BAD)),
            _leaked(seen) if split == "train" else np.zeros(0, np.int64),
        )
        for split, each in seen.items()
    }


def _leaked(seen: dict[str, Seen]) -> Positions:
    """Train photos that another split has too, but at most half of each class."""
    train = seen["train"]
    others = [
        each.facts["content"][_usable(each)] for split, each in seen.items() if split != "train"
    ]
    shared = _usable(train) & np.isin(train.facts["content"], np.concatenate(others))
    classes = copies.labels(train)
    _, number = np.unique(classes, return_inverse=True)
    all_of, shared_of = np.bincount(number), np.bincount(number, weights=shared)
    return np.flatnonzero(shared & (shared_of <= MOST_LEAKED * all_of)[number])


def _usable(seen: Seen) -> NDArray[np.bool_]:
    usable: NDArray[np.bool_] = seen.facts["flags"] & (LOOKED | BAD) == LOOKED
    return usable


def positions(out: tuple[Positions, Positions]) -> list[int]:
    found: list[int] = np.unique(np.concatenate(out)).tolist()
    return found


def used(index: Index, gone: list[int]) -> Index:
    """The split without what is left out."""
    return channels.without(index, set(gone)) if gone else index
