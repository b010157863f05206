"""CSV files: a path, and a label, several with `|` between, or a column of 0 and 1 per class."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from artifact.preprocess import EXTENSIONS
from container.failure import DataError
from train.sources.lines import lines
from train.sources.paths import PathRefusedError
from train.sources.problems import Problems
from train.sources.request import Request
from train.sources.samples import LabelError, Listed, Samples, label
from train.sources.values import multi_hot, text

PATHS = ("image", "path", "file", "filename", "file_name", "image_path", "filepath", "image_id",
         "photo", "name", "source-ref")  # fmt: skip
LABELS = (
    "label",
    "labels",
    "class",
    "classes",
    "target",
    "category",
    "breed",
    "class_name",
    "tags",
)
"""Columns' names, in any case."""

SEPARATOR = "|"
FIX = (
    "write a header and the columns `path` and `label` (several labels with | between them), "
    "or `path` and one column of 0 and 1 per class"
)


@dataclass(frozen=True)
class Columns:
    path: int
    label: int | None
    classes: tuple[str, ...] = ()
    """Of the columns of 0 and 1, which are all but the path's."""
    header: bool = True


def read(request: Request) -> Listed:
    """Raises DataError."""
    path = request.list_path()
    columns = _columns(path)
    if columns is None:
        raise DataError(f"{path.name} is no list of photos: {_first(path)!r:.200}", FIX)
    samples = Samples(request.split, request.folder.path)
    samples.several = bool(columns.classes) or _any_several(path, columns)
    samples.know(columns.classes)
    problems = Problems()
    width = len(columns.classes) + 1
    if columns.label is not None:
        width = max(columns.path, columns.label) + 1
    for number, cells in _rows(path, skip=columns.header):
        try:
            if len(cells) < width or (columns.classes and len(cells) != width):
                least = "" if columns.classes else "at least "
                raise LabelError(f"{len(cells)} cells where {least}{width} should be")
            labels = _labels(samples, cells, columns)
            request.add(samples, number, cells[columns.path].strip(), labels)
        except (LabelError, PathRefusedError) as error:
            problems.add(f"line {number}", error)
    problems.check(path.name, FIX)
    return samples.listed(request.names)


def is_list(path: Path) -> bool:
    """Whether it is a table of photos at all: others lie beside photos too."""
    try:
        return _columns(path) is not None
    except DataError:  # told of where it is read
        head = _first(path).lower().split(",")
        return any(cell.strip(' "') in PATHS for cell in head)


def _rows(path: Path, skip: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Raises DataError."""
    for at, (number, line) in enumerate(lines(path)):
        if at or not skip:
            try:
                yield number, next(csv.reader([line], strict=True))
            except (csv.Error, StopIteration) as error:
                # a quoted name may hold a line's end; a path with one is refused anyway
                raise DataError(f"{path.name} line {number} is no CSV: {error}", FIX) from error


def _first(path: Path) -> str:
    return next((line for _, line in lines(path)), "")


def _columns(path: Path) -> Columns | None:
    """By the header's names; without a header by a first line of a photo and a label."""
    rows = _rows(path)
    _, head = next(rows, (0, []))
    _, second = next(rows, (0, []))
    names = [cell.strip().lower() for cell in head]
    if len(names) == 2 and _is_photo(head[0]):
        return Columns(0, 1, header=False)
    found = next((names.index(name) for name in PATHS if name in names), None)
    if found is None or len(names) < 2:
        return None
    labels = [at for at, name in enumerate(names) if name in LABELS and at != found]
    others = [cell for at, cell in enumerate(second) if at != found]
    if labels:
        return Columns(found, labels[0])
    if len(names) == 2:
        return Columns(found, 1 - found)
    if others and all(cell.strip() in ("0", "1") for cell in others):
        return Columns(found, None, _classes(path, head, found))
    return None


def _classes(path: Path, head: list[str], path_column: int) -> tuple[str, ...]:
    try:
        found = tuple(label(cell) for at, cell in enumerate(head) if at != path_column)
    except LabelError as error:
        raise DataError(f"{path.name} line 1: {error}", FIX) from error
    if len(set(found)) != len(found):
        raise DataError(f"{path.name} line 1: two columns have one class's name", FIX)
    return found


def _is_photo(cell: str) -> bool:
    return cell.strip().lower().endswith(EXTENSIONS)


def _any_several(path: Path, columns: Columns) -> bool:
    """One photo with two labels makes them all photos with several."""
    at = columns.label
    return at is not None and any(len(cells) > at and SEPARATOR in cells[at]
                                  for _, cells in _rows(path, skip=columns.header))  # fmt: skip


def _labels(samples: Samples, cells: list[str], columns: Columns) -> list[str]:
    if columns.label is not None:
        parts = cells[columns.label].split(SEPARATOR)
        if not samples.several:
            return [text(parts[0])]
        return list(dict.fromkeys(text(part) for part in parts if part.strip()))
    values = [cell.strip() for at, cell in enumerate(cells) if at != columns.path]
    wrong = [value for value in values if value not in ("0", "1")]
    if wrong:
        raise LabelError(f"{wrong[0]!r:.60} where 0 or 1 should be")
    hot = multi_hot(samples, [int(value) for value in values])
    return [columns.classes[int(at)] for at in hot]
