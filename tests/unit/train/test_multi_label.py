"""Numbers of an evaluation of several labels, beside their plain definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train import multi_label
from train.channels import Splits
from train.evaluate import count_right
from train.index import Index
from train.multi_label import PER_LOGIT, MultiLabel


def counted(logits, targets, parts=2):
    """In mini-batches, as an evaluation does it."""
    several = MultiLabel.empty(logits.shape[1])
    for rows, given_ in zip(
        np.array_split(logits, parts), np.array_split(targets, parts), strict=True
    ):
        batch, labels = torch.from_numpy(rows), torch.from_numpy(given_)
        several = several.plus(batch, labels, count_right(batch, labels))
    return several


def average_precision(scores, present):
    """Over all thresholds, from the highest: the rise in recall times the precision."""
    total, before, result = present.sum(), 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = scores >= threshold
        recall = present[chosen].sum() / total
        result += (recall - before) * present[chosen].mean()
        before = recall
    return result


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_average_precision_is_the_textbooks(seed):
    random = np.random.default_rng(seed)
    logits = (random.integers(-300, 300, (30, 3)) / PER_LOGIT).astype(np.float32)
    targets = random.integers(0, 2, (30, 3)).astype(np.uint8)
    targets[0] = 1

    seen = counted(logits, targets).average_precisions()

    expected = [average_precision(logits[:, at], targets[:, at]) for at in range(3)]
    assert seen == pytest.approx(expected)


TARGETS = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]], np.uint8)
LOGITS = np.array([[2, 1, -3, -9], [-1, -2, -3, -9], [1, -2, -3, -9], [-3, 0, -3, -9]], np.float32)


def test_f1_counts_at_a_probability_of_a_half():
    several = counted(LOGITS, TARGETS)

    table = several.per_class(["a", "b", "c", "d"])
    assert table["a"] == {
        "precision": 0.5, "recall": 0.5, "f1": 0.5, "average_precision": pytest.approx(5 / 6),
        "images": 2,
    }  # fmt: skip
    assert table["b"]["f1"] == 1.0
    assert table["c"] == {
        "precision": None, "recall": None, "f1": None, "average_precision": None, "images": 0,
    }  # fmt: skip
    metrics = several.metrics()
    assert metrics["macro_f1"] == 0.75
    assert metrics["micro_f1"] == pytest.approx(6 / 8)
    assert metrics["mean_average_precision"] == pytest.approx((5 / 6 + 1) / 2)
    assert (several.images, several.right) == (4, 3)
    assert several.together[:2, :2].tolist() == [[1, 1], [1, 2]]


def test_a_threshold_is_where_f1_is_best_and_near_a_half_where_many_are():
    present = np.array([-1.0] * 10 + [-3.0] * 40)
    logits = np.stack([present, present + 2, present], 1).astype(np.float32)
    targets = np.zeros((50, 3), np.uint8)
    targets[:10, :2] = 1
    targets[:9, 2] = 1

    thresholds = counted(logits, targets).thresholds()

    assert thresholds[0] == pytest.approx(1 / (1 + np.exp(1)), abs=1e-5)
    assert thresholds[1:] == [0.5, 0.5]


def test_extreme_answers_are_counted_at_the_ends():
    logits = np.array([[np.inf, -np.inf], [-1e30, 1e30]], np.float32)

    several = counted(logits, np.eye(2, dtype=np.uint8))

    assert several.metrics()["mean_average_precision"] == 1.0


def test_a_split_of_single_labels_joins_those_of_several(tmp_path):
    single = Index.of("train", tmp_path, [("a.jpg", 2), ("b.jpg", 0)])
    splits = Splits(["x", "y", "z"], single, single, None)

    widened = multi_label.widened(splits, asked=True)

    assert widened.train.targets.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert widened.train.counts(3).tolist() == [1, 0, 1]
    assert widened.train.take(np.array([1])).targets.tolist() == [[1, 0, 0]]
    assert widened.train.take(np.array([1])).name(0) == "b.jpg"
    assert multi_label.widened(splits, asked=False) is splits
    mixed = multi_label.widened(Splits(["x", "y", "z"], single, widened.train, single), False)
    assert all(each.multi_label for each in (mixed.train, mixed.validation, mixed.test))
