"""Losses: weights and smoothing in training, neither of them in evaluation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from train import loss
from train.hyperparameters import Hyperparameters
from train.index import Index


def index(targets):
    made = Index.of("train", Path(), ((f"{at}.jpg", 0) for at in range(len(targets))))
    kind = np.uint8 if np.ndim(targets) == 2 else np.int32
    return Index(made.channel, made.root, made.names, made.ends, np.asarray(targets, kind))


def made(chosen, train, classes):
    return loss.make(chosen, train.counts(classes), len(train), train.multi_label)


def test_balanced_classes_count_alike_however_many_photos_they_have():
    chosen = Hyperparameters(class_weighting="balanced")
    targets = torch.tensor([0] * 6 + [1] * 2)
    criterion = made(chosen, index(targets), 2)
    logits = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))

    each = functional.cross_entropy(logits, targets, reduction="none")
    balanced = (each[:6].mean() + each[6:].mean()) / 2
    assert criterion(logits, targets).item() == pytest.approx(balanced.item())
    assert criterion.eval()(logits, targets).item() == pytest.approx(each.mean().item())


def test_a_mean_over_micro_batches_is_the_mean_over_the_update():
    chosen = Hyperparameters(class_weighting="balanced", label_smoothing=0.1)
    targets = torch.tensor([0, 0, 0, 1, 2, 0])
    criterion = made(chosen, index(targets), 3)
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))

    whole = criterion(logits, targets)
    parts = criterion(logits[:4], targets[:4]) * 4 / 6 + criterion(logits[4:], targets[4:]) * 2 / 6

    assert whole.item() == pytest.approx(parts.item())


def test_shares_of_classes_are_a_target_like_any_other():
    criterion = made(Hyperparameters(class_weighting="balanced"), index([0, 0, 1]), 2)
    logits = torch.randn(2, 2, generator=torch.Generator().manual_seed(0))
    mixed = criterion(logits, torch.tensor([[0.25, 0.75], [1.0, 0.0]]))

    parts = [criterion(logits, torch.tensor(pair)).item() for pair in ([0, 0], [1, 0])]
    assert mixed.item() == pytest.approx(0.25 * parts[0] + 0.75 * parts[1])


def test_several_labels_are_a_yes_or_no_for_each():
    criterion = made(Hyperparameters(label_smoothing=0.2), index([[1, 1, 0], [0, 0, 0]]), 3)
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
    rows = torch.tensor([[1, 1, 0], [0, 0, 0]], dtype=torch.uint8)

    plain = functional.binary_cross_entropy_with_logits(logits, rows.float())
    smooth = functional.binary_cross_entropy_with_logits(logits, rows * 0.8 + 0.1)
    assert criterion(logits, rows).item() == pytest.approx(smooth.item())
    assert criterion.eval()(logits, rows).item() == pytest.approx(plain.item())


@pytest.mark.parametrize(
    ("targets", "weights"),
    [
        pytest.param([[1, 0], [0, 0], [0, 0], [0, 1]], [3.0, 3.0], id="absent by present"),
        pytest.param([[1, 0]] + [[0, 1]] * 400, [100.0, 1 / 400], id="capped"),
    ],
)
def test_rare_labels_weigh_more(targets, weights):
    criterion = made(Hyperparameters(class_weighting="balanced"), index(targets), 2)

    assert criterion.pos_weight.tolist() == pytest.approx(weights)
