"""Rules about losses, with the readings that the documentation leaves open."""

import math

import numpy as np
import pytest

from debugger.evidence import Evidence

LOSS = "CrossEntropyLoss_output_0"
RECORDED = [
    1.558, 1.439, 1.236, 0.826, 1.142, 1.244, 1.199, 1.057, 1.296, 1.072, 0.947, 0.859, 0.716,
    0.979, 0.789, 0.971, 0.914, 0.777, 0.759, 0.683, 0.745, 0.982, 0.716, 0.872, 1.06, 0.537, 0.573,
    1.01, 0.515, 1.022, 0.536, 0.526, 0.59, 0.901, 0.631, 0.628,
]  # fmt: skip
"""Every fifth mini-batch of 16 photos, of a job that went from 40 % to 81 % right."""
EPOCH = {"validation_top1_accuracy": 0.9, "learning_rate": 0.001}


def save(saved, losses, every=1, mode="TRAIN"):
    for at, loss in enumerate(losses):
        saved.save({LOSS: np.float32(loss)}, mode)
        if at < len(losses) - 1:
            saved.skip(every - 1, mode)


def epochs(train, validation):
    rows = zip(train, validation, strict=True)
    return Evidence(
        model={"labels": list("abcdefghij")},
        metrics=[{"epoch": at, "step": 10 * at, "train_loss": t, "validation_loss": v, **EPOCH}
                 for at, (t, v) in enumerate(rows, 1)],
    )  # fmt: skip


def test_the_platforms_published_case_fires_at_step_12(saved, judged):
    save(saved, [0.30, 0.33, 0.31, 0.30, 0.28], every=4)

    for reading in ("documented", "historic"):
        verdict = judged("loss_not_decreasing", reading=reading, diff_percent="0")
        assert verdict.steps == ([12] if reading == "historic" else []), reading
    assert judged("loss_not_decreasing", reading="documented").steps == [12]


def test_the_two_readings_of_a_difference_in_per_cent(saved, judged):
    save(saved, [0.30, 0.33, 0.31, 0.30, 0.28, 0.20, 0.42], every=4)

    documented = judged("loss_not_decreasing", reading="documented", diff_percent="20")
    historic = judged("loss_not_decreasing", reading="historic", diff_percent="20")

    assert documented.steps == [12, 24]  # fell by 0 %, then rose by 40 %
    assert historic.steps == [24]
    assert documented.sureness == "certain"
    assert "rises" in documented.reason


def test_the_loss_is_compared_with_the_newest_that_is_far_enough_back(saved, judged):
    save(saved, [1.0 - 0.01 * at for at in range(12)], every=3)

    verdict = judged("loss_not_decreasing", reading="documented", diff_percent="99")

    assert verdict.steps == [12, 24]  # ten steps after 0 it is looked at 12, ten after 12 at 24


def test_noise_on_a_falling_loss_fires_as_documented_and_not_smoothed(saved, judged):
    random = np.random.default_rng(0)
    save(saved, [2 * 0.97**at + random.normal(0, 0.2) for at in range(80)])

    assert judged("loss_not_decreasing", reading="documented").status == "IssuesFound"
    assert judged("loss_not_decreasing").status == "NoIssuesFound"


def test_single_mini_batches_of_a_job_that_learns_are_no_rise(saved, judged):
    save(saved, RECORDED, every=5)

    assert judged("loss_not_decreasing").status == "NoIssuesFound"
    assert judged("loss_not_decreasing", least_losses="1").status == "IssuesFound"


def test_a_rise_beyond_the_noise_is_certain_and_one_within_it_is_not(saved, judged):
    random = np.random.default_rng(0)
    save(saved, [1 + 0.01 * at + random.normal(0, 0.05) for at in range(80)])
    assert judged("loss_not_decreasing").sureness == "certain"

    save(saved, [1 + random.normal(0, 0.5) for at in range(80)], mode="EVAL")
    assert judged("loss_not_decreasing", mode="eval").sureness == "likely"


def test_a_flat_loss_fires_and_a_learned_one_does_not(saved, judged):
    random = np.random.default_rng(0)
    save(saved, [2.3 + random.normal(0, 0.05) for _ in range(80)])

    assert judged("loss_not_decreasing").status == "IssuesFound"


def test_a_loss_that_has_nothing_left_to_fall_to_is_settled(saved, judged):
    random = np.random.default_rng(0)
    save(saved, [max(2.3 - 0.1 * at, 0.02) + abs(random.normal(0, 0.01)) for at in range(120)])

    assert judged("loss_not_decreasing").status == "NoIssuesFound"
    assert judged("loss_not_decreasing", settled="0").status == "IssuesFound"


def test_without_tensors_the_epochs_tell(judged, saved):
    flat = epochs([2.3, 2.31, 2.3, 2.32, 2.3], [2.3] * 5)

    assert judged("loss_not_decreasing", flat).status == "IssuesFound"
    assert judged("loss_not_decreasing", epochs([2.3, 1.2, 0.6], [2.3] * 3)).times == 0
    assert judged("loss_not_decreasing").status == "NotApplicable"


def passes(saved, pairs, losses=4):
    """Training, then an evaluation, again and again."""
    for train, validation in pairs:
        save(saved, [train] * losses)
        save(saved, [validation] * 3, mode="EVAL")


def test_overfit_compares_each_evaluation_with_the_training_before_it(saved, judged):
    passes(saved, [(2.0, 2.1), (1.0, 1.05), (0.5, 0.9), (0.2, 1.0)])

    verdict = judged("overfit")

    assert verdict.times == 2
    assert "1 against 0.2 in training, 400 % more" in verdict.reason
    assert judged("overfit", patience="2").times == 1
    assert judged("overfit", patience="3").status == "NoIssuesFound"
    assert judged("overfit", start_step="24").times == 1
    assert judged("overfit", window="all").times == 0  # of all training so far the mean is 0.925


def test_overfit_judges_no_single_mini_batch(saved, judged):
    passes(saved, [(0.1, 1.0)] * 3, losses=2)
    known = epochs([1.0, 0.9], [1.0, 0.95])

    assert judged("overfit").status == "NotApplicable"
    assert judged("overfit", known).status == "NoIssuesFound"
    assert judged("overfit", least_losses="1").status == "IssuesFound"


def test_overfit_is_silent_for_tiny_losses_and_for_harder_training(saved, judged):
    passes(saved, [(0.5, 0.4), (0.01, 0.03)])

    assert judged("overfit").status == "NoIssuesFound"
    assert judged("overfit", least_difference="0").status == "IssuesFound"


def test_overfit_needs_both_modes(saved, judged):
    save(saved, [1.0, 0.9])

    verdict = judged("overfit")

    assert verdict.status == "NotApplicable"
    assert "both modes" in verdict.reason
    assert judged("overfit", epochs([1.0, 0.3], [1.0, 1.1])).status == "IssuesFound"


@pytest.mark.parametrize(
    ("train", "reading", "times"),
    [  # 14 evaluations, the first of which is the best
        pytest.param([1 - 0.05 * at for at in range(14)], "and", 4, id="training improves"),
        pytest.param([1.0] * 14, "and", 4, id="training has stalled, too"),
        pytest.param([1.0] * 14, "or", 9, id="either patience alone"),
    ],
)
def test_overtraining_waits_for_both_or_for_either(saved, judged, train, reading, times):
    passes(saved, [(each, 1.0) for each in train])

    verdict = judged("overtraining", reading=reading)

    assert verdict.times == times
    assert "epochs=1" in verdict.advice


def test_overtraining_needs_as_many_evaluations_as_it_waits_for(saved, judged):
    passes(saved, [(1.0, 1.0)] * 5)

    assert judged("overtraining").status == "NotApplicable"
    assert judged("overtraining", patience_validation="3").status == "IssuesFound"
    assert judged("overtraining", epochs([1.0] * 13, [1.0] * 13)).times == 3


def test_an_improvement_is_as_large_as_delta(saved, judged):
    falling = [1 - 0.02 * at for at in range(14)]
    passes(saved, list(zip(falling, falling, strict=True)))

    assert judged("overtraining").status == "NoIssuesFound"
    assert judged("overtraining", delta="0.3").status == "IssuesFound"


def test_nothing_is_learned_by_heart_in_the_first_epoch(judged):
    one, two = epochs([0.1], [9.0]), epochs([0.1, 0.1], [9.0, 9.0])

    assert judged("overfit", one).status == "NotApplicable"
    assert judged("overfit", two).status == "IssuesFound"


def test_a_head_trained_at_0_0877_is_called_what_it_is(judged, saved):
    """The published job: one epoch, 133 classes, a loss in the tens, accuracy near chance."""
    known = Evidence(
        model={"labels": [f"dog {number}" for number in range(133)]},
        hyperparameters={"learning_rate": "0.0877", "optimizer": "adam", "epochs": "1"},
        metrics=[{"epoch": 1, "step": 209, "train_loss": 24.1, "validation_loss": 30.4,
                  "validation_top1_accuracy": 0.012}],
    )  # fmt: skip

    verdict = judged("learning_rate_too_high", known)

    assert verdict.status == "IssuesFound"
    assert verdict.sureness == "certain"
    assert "learning_rate=0.0877 is too high" in verdict.reason
    assert "24.1, 4.9 times the 4.89 of chance of 133 classes" in verdict.reason
    assert "0.012, by chance 0.008" in verdict.reason
    assert "learning_rate=0.001" in verdict.advice


def test_a_loss_below_chance_is_no_matter_of_the_learning_rate(saved, judged):
    save(saved, [2.3, 2.4, 2.2, 2.0, 1.9, 1.8])

    assert judged("learning_rate_too_high").status == "NoIssuesFound"


def test_from_tensors_the_width_of_the_logits_tells_chance(saved, judged):
    for loss in (2.5, 4.0, 5.0, 6.0, 7.0, 8.0):
        saved.save({"CrossEntropyLoss_input_0": np.zeros((4, 10)), LOSS: np.float32(loss)})

    verdict = judged("learning_rate_too_high")

    assert verdict.details["chance_loss"] == pytest.approx(math.log(10))
    assert verdict.steps == [4, 5]


def test_a_head_that_stays_is_found_and_a_frozen_backbone_is_none(saved, judged):
    for _ in range(5):
        saved.save({
            "Net_conv.weight": np.ones(3), "Net_fc.weight": np.ones(3),
            "gradient/Net_fc.weight": np.ones(3),
        })  # fmt: skip

    verdict = judged("head_not_learning")

    assert verdict.tensors == ["Net_fc.weight"]
    assert verdict.steps == [3, 4]

    for step in range(3):
        saved.save({"Net_conv.weight": np.ones(3), "Net_fc.weight": np.ones(3) + step})
    assert judged("head_not_learning", num_steps="6").status == "NoIssuesFound"


def test_epochs_at_chance_are_a_head_that_does_not_learn(judged, saved):
    at_chance = epochs([2.30, 2.31, 2.30], [2.3] * 3)
    for row in at_chance.metrics:
        row["validation_top1_accuracy"] = 0.1

    assert judged("head_not_learning", at_chance).status == "IssuesFound"
    assert judged("head_not_learning", epochs([2.0, 1.5, 1.0], [1] * 3)).times == 0


def initial(saved, losses, scale, gradient):
    random = np.random.default_rng(0)
    for loss in losses:
        saved.save({
            "a.relu_input_0": random.normal(0, 1, (8, 9)),
            "b.relu_input_0": random.normal(0, scale, (8, 9)),
            "gradient/Net_a.weight": random.normal(0, gradient, 99), LOSS: np.float32(loss),
        })  # fmt: skip


@pytest.mark.parametrize(
    ("losses", "scale", "gradient", "symptom", "anyone"),
    [
        pytest.param([2.3] * 8, 0.01, 1, "IssuesFound", "IssuesFound", id="unequal, stuck"),
        pytest.param([2.3] * 8, 1, 1e-6, "IssuesFound", "IssuesFound", id="narrow, stuck"),
        pytest.param([2.3, 2, 1.9, 1.8, 1.7, 1.6, 1.5], 0.01, 1e-6, "NoIssuesFound", "IssuesFound",
                     id="learns all the same"),
        pytest.param([2.3] * 8, 1, 1, "NoIssuesFound", "IssuesFound", id="stuck alone"),
        pytest.param([2.3, 2, 1.9, 1.8], 1, 1, "NoIssuesFound", "NoIssuesFound", id="healthy"),
    ],
)  # fmt: skip
def test_poor_initialisation_in_both_readings(
    saved, judged, losses, scale, gradient, symptom, anyone
):
    initial(saved, losses, scale, gradient)

    assert judged("poor_weight_initialization").status == symptom
    assert judged("poor_weight_initialization", reading="any").status == anyone


def test_trained_weights_are_no_initialisation(saved, judged):
    initial(saved, [2.3] * 8, 0.01, 1)

    known = Evidence(hyperparameters={"pretrained": "true"})

    assert judged("poor_weight_initialization", known).status == "NotApplicable"


@pytest.mark.parametrize("rule", ["learning_rate_too_high", "overfit"])
def test_losses_that_are_no_numbers_are_no_health(saved, judged, rule):
    for mode in ("TRAIN", "EVAL"):
        save(saved, [np.nan] * 20, mode=mode)

    verdict = judged(rule)

    assert verdict.status == "NotApplicable"
    assert "see nan_or_inf" in verdict.reason


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        pytest.param([], "no loss of training was saved", id="no losses"),
        pytest.param([2.3] * 3, "3 losses were saved, and 6 are needed", id="few losses"),
        pytest.param([np.nan] * 9, "no loss of training was saved that is a number", id="NaN"),
    ],
)
def test_without_losses_an_initialisation_cannot_be_judged(saved, judged, losses, reason):
    initial(saved, losses, 1, 1e-6)
    if not losses:
        saved.save({"gradient/Net_a.weight": np.zeros(99)})

    verdict = judged("poor_weight_initialization")

    assert verdict.status == "NotApplicable"
    assert reason in verdict.reason


def test_losses_alone_do_not_tell_why_they_stay(saved, judged):
    save(saved, [2.3] * 12)

    assert judged("poor_weight_initialization").status == "NotApplicable"


def test_losses_of_evaluations_alone_are_named_as_such(saved, judged):
    save(saved, [1.0] * 60, mode="EVAL")

    assert "set mode=eval" in judged("loss_not_decreasing").reason
    assert judged("loss_not_decreasing", mode="eval").status == "IssuesFound"
