"""Pictures of a finished job as files of their own: what a terminal or a chat shows at once."""

import io
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no display in a container

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

from artifact.preprocess import Preprocessing, fit, open_photo  # noqa: E402
from train.index import Index  # noqa: E402
from train.report.results import Results  # noqa: E402

CELL, CAPTION, COLUMNS, ROWS = 96, 16, 8, 12
"""Pixels of one photo of the contact sheet and its caption; photos per class, and classes."""

MARKED_CLASSES = 30
"""Up to so many classes the confusion matrix carries names and counts; beyond, only colours."""


def write(folder: Path, results: Results) -> None:
    evaluation, split = results.evaluation, results.split
    curves(folder / "curves.png", results.history, results.best_epoch)
    contact_sheet(folder / "samples.png", results.splits.train, results.labels, 0)
    title = f"{split}: {evaluation.top1_accuracy:.1%} of {evaluation.images} photos right"
    if results.multi_label:
        title = f"{split}: labels (columns) given to photos that have a label (rows)"
    confusion_matrix(folder / "confusion_matrix.png", results, title)


def confusion_matrix(path: Path, results: Results, title: str) -> None:
    """Rows are normalised: the colour is the share of a true class's images."""
    counts, labels = results.evaluation.confusion, results.labels
    shares = counts / np.maximum(results.photos_per_class[:, None], 1)
    marked = len(labels) <= MARKED_CLASSES
    side = min(4 + 0.45 * len(labels), 16) if marked else 12
    figure, axes = plt.subplots(figsize=(side, side), layout="constrained")
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(drawn, ax=axes, shrink=0.8, label="share of the true class")
    axes.set(title=title, xlabel="predicted class", ylabel="true class")
    if marked:
        # labels are names: a dollar sign in one does not begin a formula
        axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right", parse_math=False)
        axes.set_yticks(range(len(labels)), labels, parse_math=False)
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", color=colour)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def curves(path: Path, history: list[dict[str, Any]], best_epoch: int | None) -> None:
    """Loss and accuracy over the epochs, training and validation."""
    figure, (losses, accuracies) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    epochs = [metrics["epoch"] for metrics in history]
    for axes, name in ((losses, "loss"), (accuracies, "top1_accuracy")):
        for split, style in (("train", "o--"), ("validation", "o-")):
            values = [metrics[f"{split}_{name}"] for metrics in history]
            axes.plot(epochs, values, style, label=split, markersize=4)
        if best_epoch is not None:
            axes.axvline(best_epoch, color="grey", linewidth=1, label=f"best, epoch {best_epoch}")
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    accuracies.set_ylim(0, 1.02)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def contact_sheet(path: Path, index: Index, labels: list[str], seed: int) -> None:
    """A row of training photos per class, as the network sees them without augmentation."""
    random = np.random.default_rng(seed)
    shown = labels[:ROWS]
    row_height = CELL + CAPTION
    sheet = Image.new("RGB", (COLUMNS * CELL, len(shown) * row_height), "white")
    pen = ImageDraw.Draw(sheet)
    for row, label in enumerate(shown):
        members = index.members(row)
        picked = random.choice(members, min(COLUMNS, len(members)), replace=False)
        pen.text((4, row * row_height + 2), f"{label} ({len(members)} photos)", fill="black")
        for column, position in enumerate(sorted(picked)):
            try:
                image = open_photo(index.read(int(position)), CELL)
            except (OSError, ValueError):  # reported where the file was trained on
                continue
            cell = Image.fromarray(fit(image, Preprocessing(CELL - 2, CELL - 2)))
            sheet.paste(cell, (column * CELL, row * row_height + CAPTION))
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    path.write_bytes(stream.getvalue())
