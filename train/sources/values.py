"""A label as formats write it: a number, a name, a JSON array, 0 and 1 per class."""

import json
import re
from collections.abc import Sequence
from typing import Any

from train.sources.samples import LabelError, Samples, label

MOST_CLASSES = 100_000
NUMBER = re.compile(r"(0|[1-9][0-9]{0,4})(\.0*)?")
"""`007` is a name."""


def number(value: float) -> str:
    """A class number, which some formats keep as a float. Raises LabelError."""
    if not 0 <= value < MOST_CLASSES or value != int(value):
        raise LabelError(f"the label {value!r:.40} is no class number from 0 to {MOST_CLASSES - 1}")
    return str(int(value))


def text(value: str) -> str:
    """A name, or a number (`3`, `3.0`). Raises LabelError."""
    found = NUMBER.fullmatch(value.strip())
    return found[1] if found else label(value)


def multi_hot(samples: Samples, values: Sequence[float]) -> list[str]:
    """0 or 1 per class, in the classes' order. Raises LabelError."""
    wrong = [value for value in values if value not in (0, 1)]
    if wrong:
        raise LabelError(
            f"{wrong[0]!r} in a list of 0 and 1 per class; if the list holds class numbers, add "
            "`; label-format=class-id` to the channel's ContentType"
        )
    if samples.numbers and len(samples.numbers) != len(values):
        raise LabelError(f"{len(values)} values, and {len(samples.numbers)} in the lines before")
    if not samples.numbers:
        samples.know(map(str, range(len(values))))
    return [str(at) for at, value in enumerate(values) if value]


def several(samples: Samples, values: Sequence[Any], class_ids: bool) -> list[str]:
    """A list of class numbers, of 0 and 1 per class, or of names. Raises LabelError."""
    if len(values) > MOST_CLASSES:
        raise LabelError(f"{len(values)} labels; at most {MOST_CLASSES} can be")
    if values and all(isinstance(value, str) for value in values):
        return list(dict.fromkeys(text(value) for value in values))
    if not all(isinstance(value, int | float) for value in values):
        raise LabelError(f"{values!r:.60} is no list of numbers, nor of names")
    if class_ids:
        return list(dict.fromkeys(number(value) for value in values))
    return multi_hot(samples, values)


def of_json(samples: Samples, value: Any, class_ids: bool) -> list[str]:
    """Of a JSON value: an array stands for several labels, also as text. Raises LabelError."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise LabelError(f"{value!r:.60} is no JSON array") from error
    if isinstance(value, list):
        samples.several = True
        return several(samples, value, class_ids)
    if isinstance(value, str):
        return [text(value)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [number(value)]
    raise LabelError(f"{value!r:.60} is no label: a number, a name, or an array of them")
