"""What the HTTP side knows of the model: description and reference image, never weights."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artifact import archive
from artifact.preprocess import PhotoError, Preprocessing, pixels
from artifact.reference import distance, tolerance
from container.failure import ModelError


@dataclass(frozen=True)
class Model:
    folder: Path
    labels: list[str]
    preprocessing: Preprocessing
    reference: NDArray[np.uint8]
    expected: list[float]
    thresholds: list[float]
    """Of several labels a photo: the probability from which it is given each; else empty."""
    tolerances: dict[str, float]
    """Engine -> largest difference of a probability that still counts as right."""

    @classmethod
    def read(cls, model_dir: Path) -> "Model":
        """Raises ModelError. The engine checks the files' hashes, as it reads them anyway."""
        try:
            folder = archive.find(model_dir)
            described = archive.read_description(folder)
            data = (folder / archive.REFERENCE).read_bytes()
            reference = pixels(data, described.preprocessing)
        except OSError as error:
            raise ModelError(f"cannot read {error.filename}: {error.strerror}") from error
        except PhotoError as error:
            raise ModelError(f"{archive.REFERENCE} is damaged: {error}") from error
        except archive.ArtifactError as error:
            raise ModelError(str(error)) from error
        if len(described.reference_probabilities) != len(described.labels):
            raise ModelError("model.json has no probability of the reference image for every label")
        return cls(
            folder=folder,
            labels=[str(label) for label in described.labels],
            preprocessing=described.preprocessing,
            reference=reference,
            expected=described.reference_probabilities,
            thresholds=described.thresholds if described.multi_label else [],
            tolerances={
                name: float(facts.get("tolerance", 0.0))
                for name, facts in described.engines.items()
            },
        )

    def check(self, engine: str, answer: NDArray[np.float32]) -> None:
        """Raises ModelError where the reference image was not classified as it was at export."""
        seen = distance(answer, self.expected)
        allowed = self.tolerances.get(engine) or tolerance(engine.partition("-")[2], 0.0)
        if not seen <= allowed:
            raise ModelError(
                f"the reference image is answered wrongly by {engine}: a probability is off by "
                f"{seen:.4f}, {allowed:.4f} is allowed",
                "train again, or set PRECISION=float32",
            )
