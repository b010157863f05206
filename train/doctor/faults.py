"""From what was seen of the photos to what is wrong with them."""

import unicodedata
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from pages.markup import shown
from train.doctor import copies
from train.doctor.copies import Photos
from train.doctor.examine import Seen
from train.doctor.findings import MOST_NAMES, MOST_PER_KIND, Finding, Findings, Place
from train.doctor.look import BAD, LOOKED, ODD

TINY_SIDE = 16
HUGE_PIXELS = 25_000_000
SKEW = 10
"""Times: beyond it the largest class drowns the smallest."""
SKEW_PHOTOS = 100
"""A class with so many train photos is not poor, however rich another is."""
FEW_PHOTOS = 5


def find(seen: dict[str, Seen], labels: list[str], policy: str) -> Findings:
    findings = Findings(
        photos={split: len(each.index) for split, each in seen.items()},
        looked={split: int(each.flagged(LOOKED).sum()) for split, each in seen.items()},
        policy=policy,
    )
    for each in (_copies(seen, labels), _classes(seen, labels), _names(labels)):
        for finding in each:
            findings.add(finding)
    for split, each_seen in seen.items():
        for kind, positions, reason in _of_single_photos(each_seen):
            # a million odd photos are counted, not described
            for at in positions[:MOST_PER_KIND].tolist():
                findings.add(_at(seen, kind, [(split, at)], reason(at)))
            findings.counts[kind] += max(0, len(positions) - MOST_PER_KIND)
    return findings


def full_name(seen: dict[str, Seen], place: Place) -> str:
    """Where the file lies: `channel/path`."""
    split, position = place
    index = seen[split].index
    return f"{index.channel}/{shown(index.name(position))}"


def _at(seen: dict[str, Seen], kind: str, places: list[Place], reason: str) -> Finding:
    named = places[:MOST_NAMES]
    if len(places) > len(named):
        reason += f"; {len(places)} files, the first {len(named)} are named"
    splits = " and ".join(split for split in seen if split in {split for split, _ in places})
    return Finding(kind, splits, [full_name(seen, place) for place in named], reason, named)


def _copies(seen: dict[str, Seen], labels: list[str]) -> Iterator[Finding]:
    photos = Photos.of(seen)

    def places(members: NDArray[np.int64]) -> list[Place]:
        # the rarer ones first: what judges a model is copied into train, not the other way round
        members = members[np.argsort(-photos.split[members], kind="stable")]
        return [(photos.splits[photos.split[at]], int(photos.position[at])) for at in members]

    for group in copies.groups(photos):
        where = places(group)
        if len(np.unique(photos.label[group])) > 1:
            yield _at(seen, "conflict", where, _conflict(seen, labels, where))
        if len(np.unique(photos.split[group])) > 1:
            yield _at(seen, "leak", where, "the same bytes")
        elif len(np.unique(photos.facts["name"][group])) > 1:
            yield _at(seen, "duplicate", where, "the same bytes")
    for pair in copies.near(photos):
        members = np.asarray(pair)
        other = len(np.unique(photos.label[members])) > 1
        reason = "nearly the same picture" + (" in two classes" if other else "")
        yield _at(seen, "near leak", places(members), reason)


def _conflict(seen: dict[str, Seen], labels: list[str], places: list[Place]) -> str:
    classes = {label for split, at in places[:1000] for label in _labels(seen[split], at, labels)}
    return f"the same bytes in classes {', '.join(sorted(classes)[:MOST_NAMES])}"


def _labels(seen: Seen, position: int, labels: list[str]) -> list[str]:
    target = seen.index.targets[position]
    if np.ndim(target):
        return [labels[at] for at in np.flatnonzero(target)]
    return [labels[int(target)]]


def _classes(seen: dict[str, Seen], labels: list[str]) -> Iterator[Finding]:
    counts = {split: each.index.counts(len(labels)) for split, each in seen.items()}
    train = counts["train"]
    most = int(train.max())
    poor = np.flatnonzero((train * SKEW < most) & (train < SKEW_PHOTOS) & (train > 0))
    if len(poor):
        yield Finding(
            "skew", "train", [labels[at] for at in poor[:MOST_NAMES]],
            f"{len(poor)} classes have less than 1/{SKEW} of the photos of {labels[train.argmax()]}"
            f" ({most}); the poorest has {train[poor].min()}",
        )  # fmt: skip
    few = np.flatnonzero((train < FEW_PHOTOS) & (train > 0))
    if len(few):
        yield Finding("few", "train", [labels[at] for at in few[:MOST_NAMES]],
                      f"{len(few)} classes have fewer than {FEW_PHOTOS} photos")  # fmt: skip
    for split, count in counts.items():
        none = np.flatnonzero(count == 0)
        if len(none):
            yield Finding("missing", split, [labels[at] for at in none[:MOST_NAMES]],
                          f"{len(none)} classes have no photo")  # fmt: skip


def _names(labels: list[str]) -> Iterator[Finding]:
    """Class names that a person would take for one and the same, or cannot read."""
    alike: dict[str, list[str]] = {}
    for label in labels:
        plain = "".join(filter(str.isalnum, unicodedata.normalize("NFKC", label).casefold()))
        alike.setdefault(plain or label, []).append(label)
        # `shown` has written what cannot be printed as escapes
        if "\\" in label:
            yield Finding("label", "train", [label], "holds characters that cannot be printed")
    for same in alike.values():
        if len(same) > 1:
            reason = "differ only in case, spaces or signs: one class or several?"
            yield Finding("label", "train", same, reason)


def _of_single_photos(
    seen: Seen,
) -> Iterator[tuple[str, NDArray[np.int64], Callable[[int], str]]]:
    """Kind, positions of all photos with that fault, and the reason of one."""
    width, height = (seen.facts[side].astype(np.int64) for side in ("width", "height"))

    def size(at: int) -> str:
        return f"{width[at]}x{height[at]} pixels"

    def oddity(at: int) -> str:
        return "; ".join(text for bit, text in ODD.items() if seen.facts["flags"][at] & bit)

    tiny = (width > 0) & (np.minimum(width, height) < TINY_SIDE)
    yield "unreadable", np.flatnonzero(seen.flagged(BAD)), seen.reason
    yield "tiny", np.flatnonzero(tiny), size
    yield "huge", np.flatnonzero(width * height > HUGE_PIXELS), size
    yield "odd", np.flatnonzero(seen.flagged(sum(ODD))), oddity
