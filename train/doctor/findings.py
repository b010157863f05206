"""What the doctor found: one finding per fault, with the files it is about."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

ERROR, WARNING, NOTE = "error", "warning", "note"

KINDS = {
    "unreadable": (ERROR, "files that cannot be decoded"),
    "leak": (ERROR, "photos that two splits share, byte for byte: accuracy on them is too good"),
    "conflict": (ERROR, "photos that are in two classes: one of the labels is wrong"),
    "near leak": (WARNING, "photos of two splits that look the same, and may be one photo saved "
                           "twice"),
    "duplicate": (WARNING, "photos that one split holds more than once"),
    "skew": (WARNING, "classes with far fewer train photos than others"),
    "few": (WARNING, "classes with hardly any train photos"),
    "missing": (WARNING, "classes that a split has no photos of"),
    "label": (WARNING, "class names that are unreadable, or nearly the same as another"),
    "tiny": (NOTE, "photos with hardly any pixels"),
    "huge": (NOTE, "photos whose size costs time in every epoch"),
    "odd": (NOTE, "photos in a form that may not look as expected"),
}  # fmt: skip
"""Kind -> severity, meaning. Only errors end a job, and only where data_policy=error."""

MOST_PER_KIND = 1000
"""Findings of a kind that are kept; the rest is counted."""
MOST_NAMES = 20
"""Files of one finding that are named; the rest is counted in its reason."""

Place = tuple[str, int]
"""Split and position in its index."""


@dataclass(frozen=True)
class Finding:
    kind: str
    split: str
    names: list[str]
    """Files as `channel/path`, or classes."""
    reason: str
    places: list[Place] = field(default_factory=list)
    """Of the files, in the same order."""

    @property
    def severity(self) -> str:
        return KINDS[self.kind][0]

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "severity": self.severity,
            "split": self.split,
            "names": self.names,
            "reason": self.reason,
        }


@dataclass
class Findings:
    photos: dict[str, int]
    """Split -> photos given."""
    looked: dict[str, int]
    """Split -> photos looked at in the time allowed."""
    policy: str = "skip"
    found: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """Kind -> findings, also of those that are not kept."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Split -> photos that are not used."""
    leaks_left_out: dict[str, int] = field(default_factory=dict)
    """The same, of those that another split holds, too."""
    thumbnails: list[tuple[str, bytes]] = field(default_factory=list)
    """Caption and JPEG, bounded in number and bytes."""

    def add(self, finding: Finding) -> None:
        self.counts[finding.kind] += 1
        if self.counts[finding.kind] <= MOST_PER_KIND:
            self.found.append(finding)

    def of(self, *kinds: str) -> list[Finding]:
        return [finding for finding in self.found if finding.kind in kinds]

    def as_dict(self) -> dict[str, Any]:
        """What `doctor.json` holds."""
        return {
            "photos": self.photos,
            "looked_at": self.looked,
            "left_out": self.left_out,
            "leaks_left_out": self.leaks_left_out,
            "data_policy": self.policy,
            "counts": {kind: self.counts[kind] for kind in KINDS if self.counts[kind]},
            "findings": [finding.as_dict() for kind in KINDS for finding in self.of(kind)],
        }
