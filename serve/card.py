"""What model.json says of the model, for people and for metrics: read when it is asked for."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from artifact import archive


@dataclass(frozen=True)
class Card:
    network: str
    labels: list[str]
    image_size: str
    """Pixels that the network sees, width x height."""
    seen: float
    """Share of a photo's shorter side that the network sees, from the middle."""
    weights: str
    """The beginning of the weights' hash: two models with one hash answer alike."""
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    engines: dict[str, Any] = field(default_factory=dict)
    compiled: dict[str, Any] = field(default_factory=dict)
    """Of the compiled engine: precision, accuracies, the decision; empty where there is none."""
    versions: dict[str, str] = field(default_factory=dict)
    multi_label: bool = False


def read(folder: Path) -> Card:
    """Raises ArtifactError. Kept until the file changes, for every scrape asks."""
    try:
        changed = (folder / archive.DESCRIPTION).stat().st_mtime_ns
    except OSError as error:
        raise archive.ArtifactError(f"cannot read {error.filename}: {error.strerror}") from error
    return _read(folder, changed)


@lru_cache(maxsize=64)
def _read(folder: Path, changed: int) -> Card:
    described = archive.read_description(folder)
    size = described.preprocessing.image_size
    return Card(
        network=described.network,
        labels=[str(label) for label in described.labels],
        image_size=f"{size} x {size}",
        seen=size / described.preprocessing.resize,
        weights=str(described.files[archive.WEIGHTS].get("sha256", ""))[:12],
        metrics=described.metrics,
        training=described.training,
        engines=described.engines,
        compiled=described.compiled,
        versions=described.versions,
        multi_label=described.multi_label,
    )
