"""The results of a made-up run at any number of classes: real photos, answers drawn at random."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tests.tree import photo
from train import multi_label
from train.answers import Answers
from train.batches import MicroBatch
from train.calibration import calibrate
from train.channels import Splits
from train.evaluate import Evaluation, count_right
from train.hyperparameters import Hyperparameters
from train.index import Index
from train.multi_label import MultiLabel
from train.report.results import Results
from train.schedule import Spec

GROUP = 4
"""Classes that are taken for one another."""


def results(
    folder: Path,
    classes: int,
    per_class: int = 6,
    labels: list[str] | None = None,
    epochs: int = 12,
    photos: list[bytes] | None = None,
) -> Results:
    """Files are shared among the classes, so that many classes cost little."""
    random = np.random.default_rng(0)
    labels = labels or [f"{at:04d}-a class with a name of some length" for at in range(classes)]
    photos = photos or [photo(tuple(random.integers(30, 220, 3)), at) for at in range(20)]
    train = _index(folder, "train", photos, classes, per_class)
    test = _index(folder, "test", photos, classes, per_class)
    logits = random.normal(0, 2.5, (len(test), classes)).astype(np.float32)
    rows = np.arange(len(test))
    # the groups are scattered over the list of labels, as those of real data are
    place = random.permutation(classes)
    alike = place[(np.argsort(place)[test.targets] // GROUP * GROUP
                   + random.integers(0, GROUP, len(test))) % classes]  # fmt: skip
    logits[rows, test.targets] += 11
    logits[rows, alike] += 9
    answers, evaluation = answer(test, logits, classes)
    splits = Splits(labels, train, test, test)
    return Results(
        job="classify-2026-11-21-06-00-00-001",
        chosen=Hyperparameters(epochs=epochs, network="small_cnn", pretrained=False),
        splits=splits,
        counts={split: each.counts(classes) for split, each in splits.indexes.items()},
        images={split: len(each) for split, each in splits.indexes.items()},
        history=[_metrics(epoch, epochs) for epoch in range(1, epochs + 1)],
        best_epoch=max(1, epochs - 2),
        split="test",
        evaluation=evaluation,
        answers=answers,
        calibration=calibrate(answers.rows, {"test": answers.rows}),
        bad_files={"train": ["train/a/<b>broken</b>.jpg: damaged photo: truncated"]},
        environment={"device": "cpu, x86_64", "processors": "2", "torch": torch.__version__},
    )


def answer(index: Index, logits: np.ndarray, classes: int) -> tuple[Answers, Evaluation]:
    made = Answers(len(index), classes)
    targets = torch.from_numpy(index.targets.astype(np.int64))
    spec = Spec(0, 0, np.arange(len(index)), len(index), True)
    made(torch.from_numpy(logits), MicroBatch(spec, torch.empty(0), targets))
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (index.targets, logits.argmax(1)), 1)
    return made, Evaluation(1.234, confusion)


def several(folder: Path, classes: int, per_class: int = 6) -> Results:
    """Photos that have a label of their own and a second one, and a network that errs a little."""
    single = results(folder, classes, per_class)
    random = np.random.default_rng(1)
    splits = multi_label.widened(single.splits, True)
    for index in (splits.train, splits.validation):
        rows = np.arange(len(index))
        index.targets[rows, random.integers(0, classes, len(index))] = 1
    targets = torch.from_numpy(splits.validation.targets)
    noise = torch.from_numpy(random.normal(0, 2, targets.shape).astype(np.float32))
    logits = 6 * targets.float() - 4 + noise
    answers = Answers(len(targets), classes)
    spec = Spec(0, 0, np.arange(len(targets)), len(targets), True)
    answers(logits, MicroBatch(spec, torch.empty(0), targets))
    counted = MultiLabel.empty(classes).plus(logits, targets, count_right(logits, targets))
    metrics = {f"validation_{name}": value for name, value in counted.metrics().items()}
    return replace(
        single,
        splits=replace(splits, test=splits.validation),
        counts={split: each.counts(classes) for split, each in splits.indexes.items()},
        history=[{**seen, **metrics} for seen in single.history],
        evaluation=Evaluation(0.2, counted.together, counted),
        answers=answers,
        calibration=None,
        thresholds=counted.thresholds(),
    )


def _index(folder: Path, name: str, photos: list[bytes], classes: int, per_class: int) -> Index:
    root = folder / name
    root.mkdir(parents=True, exist_ok=True)
    for at, data in enumerate(photos):
        (root / f"photo-{at:03d}.jpg").write_bytes(data)
    samples = [
        (f"photo-{(target * 7 + at) % len(photos):03d}.jpg", target)
        for target in range(classes)
        for at in range(per_class)
    ]
    return Index.of(name, root, samples)


def _metrics(epoch: int, epochs: int) -> dict[str, float]:
    part = epoch / epochs
    return {
        "epoch": epoch,
        "step": 100 * epoch,
        "train_loss": 2.5 * (1 - part) ** 2 + 0.3,
        "train_top1_accuracy": 0.3 + 0.65 * part,
        "validation_loss": 2.4 * (1 - part) ** 2 + 0.5 + 0.2 * part,
        "validation_top1_accuracy": 0.3 + 0.5 * part,
        "learning_rate": 0.001 * (1 - part),
        "images_per_second": 400.0 + 20 * (epoch % 3),
        "data_wait_share": 0.35 if epoch == 1 else 0.05,
    }
