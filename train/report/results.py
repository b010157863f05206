"""Everything that the report tells, gathered at the end of a run."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.answers import Answers
from train.calibration import Calibration
from train.channels import Splits
from train.evaluate import Evaluation
from train.hyperparameters import Hyperparameters
from train.index import Index


@dataclass(frozen=True, kw_only=True)
class Results:
    """All of the best weights; `evaluation` and `answers` on `split`."""

    job: str
    chosen: Hyperparameters
    splits: Splits
    """Of several hosts those of the leader, which may have a part of the photos only."""
    counts: dict[str, NDArray[np.int64]]
    """Split -> photos of each class, over all hosts."""
    images: dict[str, int]
    """Split -> photos, over all hosts."""
    history: list[dict[str, Any]]
    best_epoch: int | None
    split: str
    evaluation: Evaluation
    answers: Answers
    calibration: Calibration | None
    thresholds: list[float] = field(default_factory=list)
    """Per label, from which probability on it is given; where photos have several."""
    bad_files: dict[str, list[str]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    compiled: dict[str, Any] = field(default_factory=dict)
    """What `model.json` says of the compiled engine; empty where there is none."""

    @property
    def labels(self) -> list[str]:
        return self.splits.labels

    @property
    def multi_label(self) -> bool:
        return self.evaluation.several is not None

    @property
    def photos_per_class(self) -> NDArray[np.int64]:
        """Of `split`; of several labels, those that have the label."""
        per_class = self.evaluation.per_class(self.labels)
        return np.array([each["images"] for each in per_class.values()], np.int64)

    @property
    def evaluated(self) -> Index:
        """The photos of `split`."""
        test = self.splits.test
        return self.splits.validation if self.split == "validation" or test is None else test
