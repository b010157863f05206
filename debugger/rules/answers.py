"""Labels and predictions that were saved, in pairs, for the rules that count them.

The documented names are other frameworks'. In PyTorch both are inputs of the loss module:
`_input_0` are the logits, `_input_1` the labels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from debugger.rules.base import LOGITS, TARGETS, TensorRule

Classes = NDArray[np.int64]

MOST_CLASSES = 1_000_000
"""Of more, what is called a label is a number of another kind."""


def pair(
    rule: TensorRule, step: int, labels: str, predictions: str, most: bool = True
) -> tuple[Classes, Classes, int] | None:
    """Labels, predicted classes and the number of logits (0 where predictions are classes), of one
    answer per photo; labels below zero mean that a photo does not count."""
    labelled = first(rule, step, labels)
    answered = first(rule, step, predictions)
    if labelled is None or answered is None or max(labelled.ndim, answered.ndim) > 2:
        return None
    width = answered.shape[1] if answered.ndim > 1 else 0
    targets, predicted = classes(labelled, True), classes(answered, most)
    if len(targets) != len(predicted):
        return None
    known = (targets >= 0) & (targets < MOST_CLASSES)
    known &= (predicted >= 0) & (predicted < MOST_CLASSES)
    if not known.any():
        return None
    return targets[known], predicted[known], width


def first(rule: TensorRule, step: int, regex: str) -> NDArray[Any] | None:
    for name in rule.matching(step, (), regex):
        value = rule.value(name, step)
        if value is not None and value.ndim:
            return value
    return None


def classes(value: NDArray[Any], most: bool) -> Classes:
    """Class indexes: shares of classes, as mixup makes them, count for the largest."""
    if value.ndim > 1 and value.shape[1] > 1 and most:
        return np.asarray(value.argmax(1), np.int64)
    flat = np.rint(value.reshape(len(value), -1)[:, 0].astype(np.float64))
    return np.where(np.abs(flat) < MOST_CLASSES, flat, -1).astype(np.int64)


def labels_regex(documented: str) -> str:
    return f"{documented}|{TARGETS}"


def predictions_regex(documented: str) -> str:
    return f"{documented}|{LOGITS}"
