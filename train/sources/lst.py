"""`.lst` files: an index, one or more class numbers, and a path, with tabs between them."""

from train.sources.lines import lines
from train.sources.paths import PathRefusedError
from train.sources.problems import Problems
from train.sources.request import Request
from train.sources.samples import LabelError, Listed, Samples
from train.sources.values import number, several

FIX = "write `index<tab>class number<tab>path` a line, with paths relative to the channel"


def read(request: Request) -> Listed:
    """Raises DataError."""
    samples = Samples(request.split, request.folder.path)
    problems = Problems()
    path = request.list_path()
    for at, line in lines(path):
        cells = line.split("\t")
        if len(cells) < 3:
            problems.add(f"line {at}", f"{len(cells)} cells between tabs; at least 3 are needed")
            continue
        try:
            labels = _labels(samples, cells[1:-1], request.class_ids)
            request.add(samples, at, cells[-1].strip(), labels)
        except (LabelError, PathRefusedError) as error:
            problems.add(f"line {at}", error)
    problems.check(path.name, FIX)
    return samples.listed(request.names)


def _labels(samples: Samples, cells: list[str], class_ids: bool) -> list[str]:
    try:
        values = [float(cell) for cell in cells]
    except ValueError as error:
        raise LabelError(f"{cells!r:.60} are no class numbers") from error
    if len(values) == 1 and not class_ids and not samples.several:
        return [number(values[0])]
    if not samples.several and len(samples):
        raise LabelError("several labels, and one in the lines before")
    samples.several = True
    return several(samples, values, class_ids)
