"""Photos that are there more than once: the same bytes, or nearly the same picture.

Everything is sorted arrays, so that a million photos take seconds and megabytes: all pairs would be
half a million million.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from train.doctor.examine import Seen
from train.doctor.look import BAD, FLAT, LOOKED, Facts

NEAR_BITS = 8
"""Of the 128 bits of two pictures, how many may differ. Measured on 396 photos: smaller and more
compressed copies differ in up to 8 (95 % of them), no two photos in fewer than 29."""
NEAR_COLOUR = 24
"""Of the mean colour, 0 to 255: a red and a blue shirt are two products."""
BANDS = 10
"""With 8 bits different at least two of ten bands are the same, and two make a key that is rare."""
MOST_EQUAL_KEYS = 64
"""Photos with one and the same key that are compared: a bound where thousands look alike."""

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Photos:
    """All photos of all splits that could be decoded, one after the other."""

    splits: list[str]
    split: NDArray[np.int8]
    position: Positions
    facts: Facts
    label: NDArray[np.int64]

    @classmethod
    def of(cls, seen: dict[str, Seen]) -> "Photos":
        used = [np.flatnonzero(each.facts["flags"] & (LOOKED | BAD) == LOOKED)
                for each in seen.values()]  # fmt: skip
        return cls(
            list(seen),
            np.repeat(np.arange(len(seen)), [len(at) for at in used]).astype(np.int8),
            np.concatenate(used),
            np.concatenate([s.facts[at] for s, at in zip(seen.values(), used, strict=True)]),
            np.concatenate([labels(s)[at] for s, at in zip(seen.values(), used, strict=True)]),
        )


def labels(seen: Seen) -> NDArray[np.int64]:
    """A number per photo, the same for the same label or set of labels."""
    targets = seen.index.targets
    if targets.ndim == 1:
        return targets.astype(np.int64)
    weights = np.random.default_rng(0).integers(1, 1 << 40, targets.shape[1])
    return np.asarray([row @ weights for row in targets], np.int64)


def groups(photos: Photos) -> Iterator[Positions]:
    """Places in `photos` of each set of two or more with the same bytes, in the photos' order."""
    content = photos.facts["content"]
    order = np.argsort(content, kind="stable")
    edges = np.flatnonzero(np.diff(content[order])) + 1
    starts, ends = np.append(0, edges), np.append(edges, len(order))
    many = np.flatnonzero(ends - starts > 1)
    for at in many[np.argsort(order[starts[many]])]:
        yield order[starts[at] : ends[at]]


def near(photos: Photos) -> list[tuple[int, int]]:
    """Pairs of places in `photos`, of two splits, that show the same picture in other bytes: for
    each photo of the smaller split one partner."""
    found: list[tuple[int, int]] = []
    comparable = photos.facts["flags"] & FLAT == 0
    for one, other in combinations(range(len(photos.splits)), 2):
        first = np.flatnonzero(comparable & (photos.split == one))
        second = np.flatnonzero(comparable & (photos.split == other))
        if len(first) < len(second):
            first, second = second, first
        partners = _partners(photos.facts, first, second)
        pairs = zip(partners.tolist(), second.tolist(), strict=True)
        found += [(min(pair), max(pair)) for pair in pairs if pair[0] >= 0]
    return sorted(found)


def _partners(facts: Facts, first: Positions, second: Positions) -> Positions:
    """For each of `second` one of `first` that looks the same, or -1."""
    partners = np.full(len(second), -1)
    for keys, asked in zip(_keys(facts[first]), _keys(facts[second]), strict=True):
        order = np.argsort(keys, kind="stable")
        low = np.searchsorted(keys, asked, "left", sorter=order)
        high = np.searchsorted(keys, asked, "right", sorter=order)
        for step in range(MOST_EQUAL_KEYS):
            left = np.flatnonzero((low + step < high) & (partners < 0))
            if not len(left):
                break
            candidates = first[order[low[left] + step]]
            close = _close(facts[candidates], facts[second[left]])
            partners[left[close]] = candidates[close]
    return partners


def _keys(facts: Facts) -> Iterator[NDArray[np.uint64]]:
    """Two bands of the 128 bits at a time, with the number of the pair."""
    bits = np.empty((len(facts), 2), np.uint64)
    bits[:, 0], bits[:, 1] = facts["rows"], facts["columns"]
    edges = np.linspace(0, 128, BANDS + 1).astype(int)
    bands = [_cut(bits, low, high) for low, high in zip(edges[:-1], edges[1:], strict=True)]
    for one, other in combinations(bands, 2):
        yield one << np.uint64(32) | other


def _cut(bits: NDArray[np.uint64], low: int, high: int) -> NDArray[np.uint64]:
    """The bits from `low` up to `high` of two words; a band may lie in both."""
    word, shift = divmod(low, 64)
    cut = bits[:, word] >> np.uint64(shift)
    if high > 64 * (word + 1):
        cut = cut | bits[:, word + 1] << np.uint64(64 - shift)
    return cut & np.uint64((1 << (high - low)) - 1)


def _close(one: Facts, other: Facts) -> NDArray[np.bool_]:
    """Nearly the same picture and colours, yet not the same bytes."""
    bits = np.bitwise_count(one["rows"] ^ other["rows"]) + np.bitwise_count(
        one["columns"] ^ other["columns"]
    )
    colour = np.abs(one["colour"].astype(np.int16) - other["colour"].astype(np.int16)).max(1)
    alike: NDArray[np.bool_] = (bits <= NEAR_BITS) & (colour <= NEAR_COLOUR)
    other_bytes: NDArray[np.bool_] = one["content"] != other["content"]
    return alike & other_bytes
