"""Settings of a search that the platform's request has no field for."""

from dataclasses import dataclass

from container.settings import declare


@dataclass(frozen=True, kw_only=True)
class Settings:
    keep_models: int = declare(
        3, "The best trials that keep their weights.", "TUNE_KEEP_MODELS", low=1, high=750
    )
    retrain: str = declare(
        "no",
        "Train the best hyperparameters once more, on all train and validation photos.",
        "TUNE_RETRAIN",
        choices=("no", "yes"),
    )
