"""The sections of photos with several labels: every label for itself, and what was most wrong."""

import numpy as np

from pages.document import Section
from pages.markup import Html, fill, join, number, paragraph, percent, table
from train.report import confusion
from train.report.photos import Thumbnails
from train.report.results import Results
from train.surprises import Rows

LISTED_LABELS = 400
"""Rows of the table of labels; `evaluation.json` has all."""
SHORT_TABLE = 20
"""More rows scroll in a box of their own."""


def cards(results: Results) -> list[tuple[str, object, str]]:
    """Name, value and note of what one looks for first."""
    evaluation, split = results.evaluation, results.split
    metrics = evaluation.metrics()
    each = int(results.counts["train"].sum()) / max(1, results.images["train"])
    return [
        (f"mean average precision on {split}", percent(metrics["mean_average_precision"]),
         "over the labels"),
        ("F1 over all labels", percent(metrics["micro_f1"]), "micro, at 0.5"),
        ("F1, mean of the labels", percent(metrics["macro_f1"]), "macro, at 0.5"),
        (f"loss on {split}", number(evaluation.loss), f"{evaluation.images:,} photos"),
        ("labels", f"{len(results.labels):,}", f"{each:.2f} per training photo"),
    ]  # fmt: skip


def labels(results: Results) -> Section:
    """Per label, the worst first."""
    facts = results.evaluation.per_class(results.labels)
    thresholds = dict(zip(results.labels, results.thresholds, strict=True))
    rows = sorted(
        facts.items(),
        key=lambda row: (
            row[1]["average_precision"] is None, row[1]["average_precision"] or 0.0,
            -row[1]["images"],
        ),
    )  # fmt: skip
    lead = (
        "Average precision: how far the label's photos stand before the others when all are sorted "
        "by its probability. Precision, recall and F1 are of a label given from 0.5 on. Serving "
        "gives it from the threshold on, which was chosen on validation photos. The lowest average "
        "precision first."
    )
    if len(rows) > LISTED_LABELS:
        lead += f" The first {LISTED_LABELS} of {len(rows):,}; evaluation.json has all."
    head = ("label", "photos", "average precision", "precision", "recall", "F1", "threshold")
    shown = [
        (label, each["images"], percent(each["average_precision"]), percent(each["precision"]),
         percent(each["recall"]), percent(each["f1"]), thresholds[label])
        for label, each in rows[:LISTED_LABELS]
    ]  # fmt: skip
    body = table(head, shown, css="sortable")
    tall = fill('<div class="tall">$table</div>', table=body) if len(rows) > SHORT_TABLE else body
    return Section("Labels", join([paragraph(lead, "soft"), tall]))


def together(results: Results) -> Section | None:
    """Which labels were given to the photos of which: the usual company, and the confusions."""
    counts, names = results.evaluation.confusion, results.labels
    few = len(names) <= confusion.NAMED
    chosen = np.arange(len(names)) if few else confusion.most_confused(counts)
    if not len(chosen):
        return None
    lead = (
        "A row is the photos that have the label, a column how many of them were given that one. "
        "Beside the diagonal are labels that go together and labels that are mistaken."
    )
    if not few:
        lead += f" {len(chosen)} of {len(names):,} labels."
    body = join(
        [
            paragraph(lead, "soft"),
            confusion.named(counts, chosen, names, of=results.photos_per_class),
        ]
    )
    return Section("Labels together", body)


def surprises(results: Results, thumbnails: Thumbnails) -> Section | None:
    """The network was sure and the photo's labels say otherwise."""
    rows = results.answers.surprises
    false, missed = rows[rows["has"] == 0], rows[rows["has"] == 1]
    parts = [
        _kind("Given, though the photo does not have it", false, results, thumbnails),
        _kind("The photo has it, and it was not seen", missed, results, thumbnails),
    ]
    if not len(rows):
        return None
    lead = (
        f"What the network was most wrong about on {results.split}. Look at the labels first: a "
        "label that was forgotten, or given by mistake, looks like this."
    )
    return Section("Most certain mistakes", join([paragraph(lead, "soft"), *parts]))


def _kind(title: str, rows: Rows, results: Results, thumbnails: Thumbnails) -> Html:
    if not len(rows):
        return Html("")
    index, photos = results.evaluated, []
    for row in rows:
        position = int(row["position"])
        caption = fill(
            "<b>$label</b> $sure<br>$name",
            label=results.labels[int(row["label"])],
            sure=percent(float(row["probability"])),
            name=index.name(position) if position >= 0 else "",
        )
        photos.append(thumbnails.figure(index, position, caption))
    return fill("<h3>$title</h3>$photos", title=title, photos=thumbnails.row(photos, "big"))
