"""Calibration error and temperature against values that are known."""

import numpy as np
import pytest

from train import calibration


def drawn(count, scale, classes=5, seed=0):
    """Logits whose probabilities are true, then multiplied by `scale`: the right temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (count, classes))
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = (random.random((count, 1)) > chances.cumsum(1)).sum(1).clip(0, classes - 1)
    return (logits * scale).astype(np.float32), targets.astype(np.int32)


@pytest.mark.parametrize("scale", [0.4, 1.8, 6.0])
def test_the_temperature_undoes_what_was_done_to_true_probabilities(scale):
    logits, targets = drawn(6000, scale)

    fit = calibration.temperature(logits, targets)

    assert fit.temperature == pytest.approx(scale, rel=0.1)
    assert calibration.reliability(logits, targets, fit.temperature).ece < 0.03
    assert calibration.reliability(logits, targets).ece > 0.05


def test_true_probabilities_are_left_alone():
    logits, targets = drawn(6000, 1.0)

    fit = calibration.temperature(logits, targets)

    assert fit.temperature == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize(
    ("logits", "targets", "told"),
    [
        pytest.param(np.eye(3)[[0, 1, 2, 0]], [0, 1, 2, 0], "0 mistakes", id="all right"),
        pytest.param(np.eye(3)[[0]], [1], "on 1 photos", id="one photo"),
        pytest.param(np.zeros((0, 3)), [], "on 0 photos", id="none"),
        pytest.param(np.eye(3)[[0, 1, 2, 0] * 9], [1, 2, 0, 2] * 9, "no best", id="all wrong"),
    ],
)
def test_photos_that_say_nothing_fit_nothing(logits, targets, told):
    fit = calibration.temperature(logits.astype(np.float32) * 3, np.asarray(targets, np.int32))

    assert fit.temperature == 1
    assert told in fit.note


def test_a_temperature_that_only_helps_the_photos_it_was_fitted_on_is_not_applied():
    kept = 0
    for seed in range(20):
        logits, targets = drawn(12, 1.0, seed=seed)
        kept += calibration.temperature(logits, targets).temperature != 1

    assert kept <= 6


def test_the_calibration_error_of_known_answers():
    # four answers of 60 %, of which one is right: 0.35 off; six of 95 %, five right: 0.1167 off
    chances = np.array([[0.6, 0.4]] * 4 + [[0.95, 0.05]] * 6)
    targets = np.array([0, 1, 1, 1, 0, 0, 0, 0, 0, 1], np.int32)

    measured = calibration.reliability(np.log(chances).astype(np.float32), targets)

    assert measured.ece == pytest.approx(0.4 * 0.35 + 0.6 * (0.95 - 5 / 6), abs=1e-5)
    assert sum(measured.counts) == 10
    assert measured.nll == pytest.approx(-np.log(chances[np.arange(10), targets]).mean(), rel=1e-5)


def test_even_probabilities_and_huge_logits_are_numbers():
    logits = np.array([[0, 0], [1e4, -1e4], [-1e4, 1e4]], np.float32)

    measured = calibration.reliability(logits, np.array([0, 0, 0], np.int32))

    assert np.isfinite([measured.ece, measured.nll]).all()
