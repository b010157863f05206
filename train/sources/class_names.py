"""The file that names classes which a format has as numbers: a line each, or JSON."""

import json
from pathlib import Path
from typing import Any

from container.failure import DataError
from train.sources.lines import lines
from train.sources.listing import Folder
from train.sources.samples import LabelError, Names, label
from train.sources.values import MOST_CLASSES

FILES = ("labels.txt", "classes.txt", "class_names.txt", "labels.json", "classes.json",
         "class_names.json")  # fmt: skip
LARGEST = 16 << 20
FIX = 'write a name a line, or a JSON array of names, or {"0": "cat", ...}'


def read(folder: Folder) -> Names:
    """Those at the top of a channel; empty where there is no such file. Raises DataError."""
    found = [name for name in folder.files() if name in FILES]
    if not found:
        return {}
    if len(found) > 1:
        raise DataError(f"class names are in {' and in '.join(found)}", "keep one of them")
    path = folder.path / found[0]
    pairs = _json(path) if path.suffix == ".json" else list(enumerate(t for _, t in lines(path)))
    try:
        names = {number: label(name) for number, name in pairs}
    except LabelError as error:
        raise DataError(f"{path.name}: {error}", FIX) from error
    if len(set(names.values())) != len(pairs):
        raise DataError(f"{path.name}: two classes have one name or one number", FIX)
    return names


def _json(path: Path) -> list[tuple[int, str]]:
    with path.open("rb") as file:
        raw = file.read(LARGEST + 1)
    try:
        value = json.loads(raw) if len(raw) <= LARGEST else None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path.name} is no JSON: {error}", FIX) from error
    pairs = _pairs(value)
    if not all(isinstance(name, str) and 0 <= number < MOST_CLASSES for number, name in pairs):
        raise DataError(f"{path.name} holds no class names", FIX)
    return pairs


def _pairs(value: Any) -> list[tuple[int, Any]]:
    """Number and name; `{"cat": 0}` is as common as `{"0": "cat"}`."""
    if isinstance(value, list):
        return list(enumerate(value))
    if isinstance(value, dict) and all(type(number) is int for number in value.values()):
        return [(number, name) for name, number in value.items()]
    if isinstance(value, dict) and all(key.isdecimal() and len(key) < 9 for key in value):
        return [(int(key), name) for key, name in value.items()]
    return [(-1, None)]
