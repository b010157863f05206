"""Which classes are taken for which: an order that brings them together, a picture, the pairs."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pages.markup import Html, fill, join

NAMED = 24
"""Classes of a matrix that carries names and counts; more are shown as colours, and the most
confused of them by name."""
MOST_CELLS = 500
"""Rows of the picture: of more classes, neighbours are added up."""
FADE = 0.5
GOOD, BAD = (37, 99, 201), (224, 86, 36)

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    true: int
    predicted: int
    photos: int
    of: int
    """Photos of the true class."""


def pairs(confusion: Counts, most: int) -> list[Pair]:
    """The most frequent mistakes, the most photos first."""
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    filled = np.flatnonzero(wrong)
    order = np.argsort(-wrong.ravel()[filled], kind="stable")[:most]
    totals = confusion.sum(1)
    found = []
    for place in filled[order]:
        true, predicted = divmod(int(place), len(confusion))
        found.append(Pair(true, predicted, int(wrong[true, predicted]), int(totals[true])))
    return found


def order(confusion: Counts) -> NDArray[np.int64]:
    """Classes so that confused ones are neighbours: each next one is the most confused with those
    before it, which count the less the longer ago they were taken."""
    count = len(confusion)
    totals = np.maximum(confusion.sum(1, keepdims=True), 1)
    shares = (confusion / totals).astype(np.float32)
    np.fill_diagonal(shares, 0)
    alike = shares + shares.T
    most = alike.sum(1)
    free = np.ones(count, bool)
    recent = np.zeros(count, np.float32)
    taken = []
    for _ in range(count):
        pull = np.where(free, recent, -1)
        best = int(pull.argmax())
        if pull[best] <= 1e-4:  # nothing is confused with these any more: the next group
            best = int(np.where(free, most, -1).argmax())
        free[best] = False
        taken.append(best)
        recent = recent * FADE + alike[best]
    return np.asarray(taken, np.int64)


def most_confused(confusion: Counts, most: int = NAMED) -> NDArray[np.int64]:
    """The classes of the most frequent mistakes, neighbours side by side."""
    wanted: list[int] = []
    for pair in pairs(confusion, 10 * most):
        for each in (pair.true, pair.predicted):
            if each not in wanted and len(wanted) < most:
                wanted.append(each)
    chosen = np.asarray(sorted(wanted), np.int64)
    return chosen[order(confusion[np.ix_(chosen, chosen)])] if len(chosen) else chosen


def picture(confusion: Counts, classes: NDArray[np.int64]) -> bytes:
    """A PNG, one pixel a cell: how much of a true class (row) was taken for each class (column).
    Mistakes have a colour of their own, and small shares can be seen beside large ones."""
    sorted_counts = confusion[np.ix_(classes, classes)]
    right = np.diag(np.diag(sorted_counts))
    right, wrong = _binned(right), _binned(sorted_counts - right)
    totals = np.maximum((right + wrong).sum(1, keepdims=True), 1)
    mistaken = wrong > right
    shares = np.where(mistaken, wrong, right) / totals
    pixels = np.empty((*shares.shape, 4), np.uint8)
    pixels[..., :3] = np.where(mistaken[..., None], BAD, GOOD)
    pixels[..., 3] = np.ceil(np.sqrt(shares) * 255)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _binned(counts: Counts) -> Counts:
    width = -(-len(counts) // MOST_CELLS)
    starts = np.arange(0, len(counts), width)
    binned: Counts = np.add.reduceat(np.add.reduceat(counts, starts, 0), starts, 1)
    return binned


def heat(confusion: Counts, classes: NDArray[np.int64]) -> Html:
    source = "data:image/png;base64," + base64.b64encode(picture(confusion, classes)).decode()
    return fill(
        '<figure class="heat"><img src="$source" alt="confusion matrix of $count classes">'
        "<figcaption>Rows are true classes, columns what they were taken for, both in the same "
        "order. Blue on the diagonal is right, orange is wrong; classes that are confused stand "
        "side by side.</figcaption></figure>",
        source=source,
        count=len(classes),
    )


def named(
    confusion: Counts, classes: NDArray[np.int64], labels: list[str], of: Counts | None = None
) -> Html:
    """A table with names and counts: rows are true classes, of which there are `of` photos."""
    totals = np.maximum(confusion.sum(1) if of is None else of, 1)
    head = join(fill('<th scope="col">$name</th>', name=labels[each]) for each in classes)
    rows = []
    for row in classes:
        cells = [
            _cell(int(confusion[row, column]), int(totals[row]), bool(row == column))
            for column in classes
        ]
        rows.append(
            fill('<tr><th scope="row" title="$name">$name</th>$cells</tr>',
                 name=labels[row], cells=join(cells))
        )  # fmt: skip
    return fill(
        '<div class="wide matrix"><table><thead><tr><td></td>$head</tr></thead>'
        "<tbody>$rows</tbody></table></div>",
        head=head,
        rows=join(rows),
    )


def _cell(count: int, total: int, right: bool) -> Html:
    if not count:
        return Html("<td></td>")
    return fill(
        '<td style="--c:var(--$colour);--a:$depth">$count</td>',
        colour="good" if right else "bad",
        depth=round(0.1 + 0.5 * count / total, 2),
        count=count,
    )
