"""The sections that are numbers: data, training, calibration, classes, how the job ran."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from pages.document import Section
from pages.markup import Html, fill, join, number, paragraph, percent, shown, table
from train.hyperparameters import Hyperparameters
from train.index import Index
from train.report import charts, confusion, several
from train.report.charts import Line
from train.report.photos import Thumbnails
from train.report.results import Results

SAMPLED_CLASSES, PER_CLASS = 10, 4
LISTED_CLASSES = 400
"""Rows of the tables of classes; `evaluation.json` has all."""
LISTED_FILES = 20
SHORT_TABLE = 20
"""More rows scroll in a box of their own."""


def lead(results: Results) -> Html:
    """What one looks for first."""
    best = results.best_epoch
    cards = several.cards(results) if results.multi_label else _cards(results)
    cards.append(("best epoch", best if best is not None else "–", f"of {len(results.history)}"))
    made = join(
        fill("<div><dt>$name</dt><dd>$value<small>$note</small></dd></div>",
             name=name, value=value, note=note)
        for name, value, note in cards
    )  # fmt: skip
    what = f"{results.chosen.network}, {results.images['train']:,} training photos"
    return join([paragraph(what, "soft"), fill('<dl class="cards">$cards</dl>', cards=made)])


def _cards(results: Results) -> list[tuple[str, object, str]]:
    evaluation = results.evaluation
    low, high = interval(evaluation.top1_accuracy, evaluation.images)
    learned = results.split == "validation" and results.chosen.train_on_validation
    cards: list[tuple[str, object, str]] = [
        (f"accuracy on {results.split}", percent(evaluation.top1_accuracy),
         "of photos it has learned" if learned else f"95% interval {low:.1%} to {high:.1%}"),
        (f"loss on {results.split}", number(evaluation.loss), f"{evaluation.images:,} photos"),
        ("classes", f"{len(results.labels):,}",
         f"guessing the largest: {_largest(results):.1%}"),
    ]  # fmt: skip
    if results.calibration is not None:
        after = results.calibration.after[results.split]
        scale = f"temperature {results.calibration.fit.temperature:.3g}"
        cards.append(("calibration error", percent(after.ece), scale))
    return cards


def interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of `count` photos."""
    if not count:
        return 0.0, 1.0
    z = 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count**2)) / (1 + z * z / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def _largest(results: Results) -> float:
    actual = results.evaluation.confusion.sum(1)
    return float(actual.max() / max(1, actual.sum()))


def data(results: Results, thumbnails: Thumbnails) -> Section:
    """Splits, classes, samples, and what was left out."""
    splits, labels = results.splits, results.labels
    rows = [
        (name, results.images[name], int((each > 0).sum()), _extreme(each.argmin(), each, labels),
         _extreme(each.argmax(), each, labels))
        for name, each in results.counts.items()
    ]  # fmt: skip
    parts = [table(("split", "photos", "classes", "fewest photos", "most photos"), rows)]
    parts += [paragraph(note, "soft") for note in splits.notes[:LISTED_FILES]]
    parts.append(_bad_files(results))
    parts.append(_samples(splits.train, labels, thumbnails))
    return Section("Data", join(parts))


def _extreme(at: np.intp, counts: NDArray[np.int64], labels: list[str]) -> str:
    return f"{int(counts[at]):,} of {labels[at]}"


def _bad_files(results: Results) -> Html:
    lines = [line for bad in results.bad_files.values() for line in bad]
    if not lines:
        return Html("")
    title = f"Could not be decoded while training: {len(lines):,}"
    more = [f"and {len(lines) - LISTED_FILES:,} more"] if len(lines) > LISTED_FILES else []
    return fill(
        "<h3>$title</h3><pre>$lines</pre>",
        title=title, lines="\n".join([*lines[:LISTED_FILES], *more]),
    )  # fmt: skip


def _samples(train: Index, labels: list[str], thumbnails: Thumbnails) -> Html:
    """Photos of a few classes, spread over the list; every time the same ones."""
    classes = np.unique(np.linspace(0, len(labels) - 1, SAMPLED_CLASSES).round().astype(int))
    parts = []
    for each in classes:
        members = train.members(int(each))
        picked = members[:: max(1, len(members) // PER_CLASS)][:PER_CLASS]
        photos = [thumbnails.figure(train, int(at), "") for at in picked]
        name = fill("<h3>$label</h3>", label=labels[each])
        parts.append(fill("<div>$name$photos</div>", name=name, photos=thumbnails.row(photos)))
    title = "Training photos" + (
        f" of {len(classes)} classes" if len(classes) < len(labels) else ""
    )
    return fill('<h3>$title</h3><div class="columns">$parts</div>', title=title, parts=join(parts))


def training(results: Results) -> Section | None:
    """Curves over the epochs; the best one, whose weights are kept, is marked."""
    history = results.history
    if not history:
        return None
    epochs = [int(metrics["epoch"]) for metrics in history]

    def line(name: str, key: str) -> Line:
        return Line(name, [float(metrics.get(key, math.nan)) for metrics in history])

    def figure(title: str, drawn: list[Line], **limits: float | None) -> Html:
        return charts.lines(title, epochs, drawn, best=results.best_epoch, **limits)

    both = [
        [line(split, f"{split}_{name}") for split in ("train", "validation")]
        for name in ("loss", "top1_accuracy")
    ]
    figures = [
        figure("Loss", both[0], low=0.0),
        figure("Top-1 accuracy", both[1]),
        *(_of_labels(figure, line) if results.multi_label else ()),
        figure("Learning rate", [line("last of the epoch", "learning_rate")], low=0.0),
        figure("Images per second", [line("training", "images_per_second")], low=0.0),
        figure("Share of the time spent waiting for photos",
               [line("waiting", "data_wait_share")], low=0.0, high=1.0),
    ]  # fmt: skip
    lead = fill('<p class="soft">Over the epochs; dashed, the best one. $waiting</p>',
                waiting=_waiting(results))  # fmt: skip
    return Section(
        "Training", join([lead, fill('<div class="charts">$all</div>', all=join(figures))])
    )


def _of_labels(
    figure: Callable[[str, list[Line]], Html], line: Callable[[str, str], Line]
) -> list[Html]:
    names = {"mean average precision": "mean_average_precision", "F1, macro": "macro_f1"}
    drawn = [line(name, f"validation_{key}") for name, key in names.items()]
    return [figure("Labels of validation photos", drawn)]


def _waiting(results: Results) -> str:
    # the first epoch also waits for the workers' start
    shares = [metrics["data_wait_share"] for metrics in results.history
              if "data_wait_share" in metrics]  # fmt: skip
    shares = shares[1:] or shares
    if not shares:
        return ""
    share = float(np.mean(shares))
    told = f"The network waited {share:.0%} of the time for photos to be decoded"
    if share < 0.2:
        return f"{told}: it was the computing that took the time."
    return f"{told}: more num_workers, more processors or smaller photos would make it faster."


def calibration(results: Results) -> Section | None:
    if results.calibration is None:
        return None
    made, split = results.calibration, results.split
    applied = made.fit.temperature != 1
    rows = [
        (name, before.photos, percent(before.ece), percent(made.after[name].ece), before.nll,
         made.after[name].nll)
        for name, before in made.before.items()
    ]  # fmt: skip
    head = ("split", "photos", "ECE before", "ECE after", "loss before", "loss after")
    figures = [charts.reliability(f"{split}, as the network gives it", made.before[split])]
    if applied:
        title = f"{split}, at temperature {made.fit.temperature:.3g}"
        figures.append(charts.reliability(title, made.after[split]))
    told = (
        "An answer of 90% certainty should be right nine times out of ten. The calibration error "
        "(ECE) is the mean distance from that, over 15 bins. A temperature, fitted on validation "
        "photos, divides the network's outputs before they become probabilities; serving applies "
        f"{made.fit.temperature:.4g}. {made.fit.note[:1].upper()}{made.fit.note[1:]}."
    )
    if split == "validation" and applied:
        told += " Without test photos, what is shown after it is of the photos it was fitted on."
    body = join(
        [
            paragraph(told, "soft"),
            table(head, rows),
            fill('<div class="charts">$all</div>', all=join(figures)),
        ]
    )
    return Section("Calibration", body)


def confusions(results: Results) -> Section:
    counts, labels = results.evaluation.confusion, results.labels
    if len(labels) <= confusion.NAMED:
        lead = "Rows are true classes, columns what they were taken for."
        everything = np.arange(len(labels))
        body = join([paragraph(lead, "soft"), confusion.named(counts, everything, labels)])
        return Section("Confusion matrix", body)
    parts = [confusion.heat(counts, confusion.order(counts))]
    worst = confusion.most_confused(counts)
    if len(worst):
        title = f"The {len(worst)} classes of the most frequent mistakes"
        parts += [fill("<h3>$title</h3>", title=title), confusion.named(counts, worst, labels)]
    return Section("Confusion matrix", join(parts))


def classes(results: Results) -> Section:
    """Per class, the worst first."""
    counts, labels = results.evaluation.confusion, results.labels
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    rows = []
    for at, (label, facts) in enumerate(results.evaluation.per_class(labels).items()):
        precision, recall = facts["precision"], facts["recall"]
        both = None if precision is None or recall is None else precision + recall
        f1 = None if both is None else 2 * precision * recall / both if both else 0.0
        other = int(wrong[at].argmax())
        mistaken = f"{labels[other]} ({wrong[at, other]})" if wrong[at, other] else ""
        rows.append((label, facts["images"], recall, precision, f1, mistaken))
    rows.sort(key=lambda row: (row[2] is None, row[2] or 0.0, -row[1]))
    lead = "Recall: the share of a class's photos that was found; precision: the share of its "
    lead += "finds that was right. The lowest recall first."
    if len(rows) > LISTED_CLASSES:
        lead += f" The first {LISTED_CLASSES} of {len(rows):,}; evaluation.json has all."
    shown_rows = [
        (label, images, percent(recall), percent(precision), percent(f1), mistaken)
        for label, images, recall, precision, f1, mistaken in rows[:LISTED_CLASSES]
    ]
    head = ("class", "photos", "recall", "precision", "F1", "most often taken for")
    body = table(head, shown_rows, css="sortable")
    tall = fill('<div class="tall">$table</div>', table=body) if len(rows) > SHORT_TABLE else body
    return Section("Classes", join([paragraph(lead, "soft"), tall]))


def job(results: Results) -> Section:
    """Hyperparameters and environment."""
    defaults = asdict(Hyperparameters())
    chosen = asdict(results.chosen)
    rows = [
        (name, "" if value == defaults[name] else "changed", _plain(value))
        for name, value in chosen.items()
    ]
    changed = {name: _plain(value) for name, value in chosen.items() if value != defaults[name]}
    columns = [
        table(("hyperparameter", "", "value"), rows, caption="Hyperparameters"),
        table(("", ""), results.environment.items(), caption="Environment"),
    ]
    repeat = fill(
        "<h3>hyperparameters.json of this job</h3><pre>$text</pre>",
        text=json.dumps(changed, ensure_ascii=False),
    )
    return Section(
        "Job",
        join([fill('<div class="columns">$both</div>',
                   both=join(fill("<div>$one</div>", one=each) for each in columns)), repeat]),
    )  # fmt: skip


def _plain(value: object) -> str:
    if isinstance(value, str):
        return shown(value)
    return json.dumps(value, ensure_ascii=False)
