"""Augmented manifests: a JSON object a line, as labelling jobs write: `source-ref` and a label."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.sources.lines import lines
from train.sources.paths import PathRefusedError
from train.sources.problems import Problems
from train.sources.request import Request
from train.sources.samples import LabelError, Listed, Names, Samples, label
from train.sources.values import MOST_CLASSES, of_json

PHOTO = "source-ref"
METADATA = "-metadata"
FIX = 'write `{"source-ref": "s3://bucket/photo.jpg", "class": 3}` a line'


@dataclass
class Classes:
    """Names of class numbers, as the lines' metadata tell them."""

    names: Names
    listed: bool = False
    """Whether a `class-map` told them: labels that are arrays are class numbers then."""

    def learn(self, metadata: Any, value: Any) -> None:
        """Raises LabelError."""
        if not isinstance(metadata, dict):
            return
        names = metadata.get("class-map")
        if isinstance(names, dict):
            self.listed = True
            for number, name in names.items():
                self._name(number, name)
        name = metadata.get("class-name")
        if isinstance(name, str) and not isinstance(value, list):
            self._name(value, name)

    def _name(self, number: Any, name: Any) -> None:
        text = str(number)
        if not (text.isdecimal() and len(text) < 9 and int(text) < MOST_CLASSES):
            return
        if not isinstance(name, str):
            raise LabelError(f"class {text} has the name {name!r:.60}, which is no text")
        if self.names.setdefault(int(text), label(name)) != label(name):
            raise LabelError(
                f"class {text} is {self.names[int(text)]!r} above and {name!r:.60} here"
            )


def read(request: Request) -> Listed:
    """Raises DataError."""
    path = request.list_path()
    samples = Samples(request.split, request.folder.path)
    classes = Classes({})
    problems = Problems()
    for number, line in lines(path):
        try:
            name, value, metadata = _photo(line)
            classes.learn(metadata, value)
            labels = of_json(samples, value, request.class_ids or classes.listed)
            request.add(samples, number, name, labels)
        except (LabelError, PathRefusedError) as error:
            problems.add(f"line {number}", error)
    problems.check(path.name, FIX)
    return samples.listed(classes.names or request.names)


def is_list(path: Path) -> bool:
    """A SageMaker manifest is one JSON array, and only tells the platform what to copy."""
    return next((line.lstrip()[:1] == "{" for _, line in lines(path)), False)


def _photo(line: str) -> tuple[str, Any, Any]:
    """The photo's URI, its label, and what is said about the label. Raises LabelError."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LabelError(f"no JSON: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get(PHOTO), str):
        raise LabelError(f"no object with {PHOTO!r}: {line!r:.100}")
    names = [name for name in values if not name.endswith(("-ref", METADATA))]
    # beside the label there may be notes; a labelling job's label has metadata
    told = [name for name in names if name + METADATA in values] or names
    if len(told) != 1:
        raise LabelError(
            f"{len(told)} attributes may be the label: {', '.join(told[:5]) or 'none'}"
        )
    return values[PHOTO], values[told[0]], values.get(told[0] + METADATA)
