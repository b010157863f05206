"""Metric definitions: the regexes that find the log's numbers, one match an epoch."""

from typing import Any

from train.progress import NUMBER

EPOCH = (
    "train_loss", "train_top1_accuracy", "validation_loss", "validation_top1_accuracy",
    "learning_rate", "images_per_second", "data_wait_share",
)  # fmt: skip
"""In the metrics line of every epoch."""
HYPERPARAMETERS = ("learning_rate",)
SEVERAL_LABELS = (
    "validation_mean_average_precision", "validation_macro_f1", "validation_micro_f1",
)  # fmt: skip
"""Where photos have several labels."""
END = {"test:loss": "Testing Loss: ", "test:accuracy": "Testing Accuracy: "}
"""Once, at the end; published tuning jobs look for these two."""
OBJECTIVES = {
    "validation_top1_accuracy": "Maximize",
    "validation_loss": "Minimize",
    "validation_mean_average_precision": "Maximize",
    "validation_macro_f1": "Maximize",
}


def regex(name: str) -> str:
    """Of a metric of the epoch's line. No name of a metric is the end of another one; one that is a
    hyperparameter, too, is also in the list of those at the start of the log."""
    line = r"\bepoch=\d+ .*" if name in HYPERPARAMETERS else ""
    return rf"{line}\b{name}={NUMBER}"


def definitions() -> list[dict[str, str]]:
    """As CreateTrainingJob and CreateAlgorithm take them."""
    each = [{"Name": name, "Regex": regex(name)} for name in (*EPOCH, *SEVERAL_LABELS)]
    return each + [{"Name": name, "Regex": f"{text}{NUMBER}"} for name, text in END.items()]


def objectives() -> list[dict[str, Any]]:
    return [{"MetricName": name, "Type": kind} for name, kind in OBJECTIVES.items()]
