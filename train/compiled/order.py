"""What the process that makes the engine is told, and what it answers: files in one folder."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ORDER = "order.json"
CALIBRATION, JUDGED, TARGETS, RIGHT = "calibration.npy", "judged.npy", "targets.npy", "right.npy"
HELD_OUT = "held_out.npy"
UNKNOWN = -1
"""In RIGHT: how the network in floats answers this photo is still to be seen."""


@dataclass(frozen=True)
class Order:
    """`artifact` is the folder of a whole artifact, without an engine. The photos lie beside the
    order, as N x H x W x 3 uint8 of the network's size; there may be none."""

    artifact: str
    tolerance: float
    """Points of top-1 accuracy that int8 may lose."""
    threads: int
    budget_seconds: float
    """For judging photos, and once more for each further try."""

    def write(self, folder: Path) -> None:
        (folder / ORDER).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Order":
        return cls(**json.loads((folder / ORDER).read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Made:
    """Of a compiled engine: what goes into `model.json` as `compiled`."""

    precision: str
    decision: str
    images: int = 0
    """Photos that it was judged on."""
    calibration_images: int = 0
    accuracies: dict[str, float] = field(default_factory=dict)
    """Arithmetic -> top-1 on these photos, for all that were tried."""
    tried: dict[str, str] = field(default_factory=dict)
    """Arithmetic -> the verdict, in the order of trying."""
    versions: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Photos:
    """What is calibrated and judged with; the arrays may be empty."""

    calibration: NDArray[np.uint8]
    judged: NDArray[np.uint8]
    targets: NDArray[np.integer]
    """A class, or classes x 0 or 1, of each judged photo; UNKNOWN stands for what the network in
    floats answers."""
    right: NDArray[np.int8]
    """Whether the network in floats is right about each: 1, 0 or UNKNOWN."""
    held_out: int = 0
    """Photos that could have been judged, had there been the time and the room for all."""

    @classmethod
    def none(cls, image_size: int) -> "Photos":
        nothing = np.empty((0, image_size, image_size, 3), np.uint8)
        return cls(nothing, nothing, np.empty(0, np.int64), np.empty(0, np.int8))

    def write(self, folder: Path) -> None:
        np.save(folder / CALIBRATION, self.calibration)
        np.save(folder / JUDGED, self.judged)
        np.save(folder / TARGETS, self.targets)
        np.save(folder / RIGHT, self.right)
        np.save(folder / HELD_OUT, self.held_out)

    @classmethod
    def read(cls, folder: Path) -> "Photos":
        """Photos stay on disk until they are looked at."""
        return cls(
            np.load(folder / CALIBRATION, mmap_mode="r"),
            np.load(folder / JUDGED, mmap_mode="r"),
            np.load(folder / TARGETS),
            np.load(folder / RIGHT),
            int(np.load(folder / HELD_OUT)),
        )
