"""Rules about inputs, labels and answers."""

import numpy as np
import pytest

from debugger.evidence import Evidence

LOGITS, TARGETS = "CrossEntropyLoss_input_0", "CrossEntropyLoss_input_1"


def answers(saved, targets, predicted, classes, mode="TRAIN"):
    saved.save({LOGITS: np.eye(classes)[predicted], TARGETS: np.array(targets)}, mode)


def test_the_largest_class_is_divided_by_the_smallest(saved, judged):
    answers(saved, [0] * 990 + [1] * 10, [0] * 990 + [1] * 10, 2)

    verdict = judged("class_imbalance")

    assert "990 photos in the largest class, 10 in the smallest" in verdict.reason
    assert verdict.advice.startswith("set class_weighting=balanced")
    assert judged("class_imbalance", threshold_imbalance="100").status == "NoIssuesFound"


def test_a_class_without_photos_counts_only_if_it_is_known(saved, judged):
    answers(saved, [0, 1] * 300, [0, 1] * 300, 3)

    assert judged("class_imbalance").status == "NoIssuesFound"
    known = Evidence(model={"labels": ["a", "b", "c"]})
    assert judged("class_imbalance", known).status == "IssuesFound"


def test_a_class_is_given_up_where_the_others_are_right(saved, judged):
    targets = [0, 1, 2] * 200
    given_up = [0 if each == 2 else each for each in targets]
    answers(saved, targets, given_up, 3)
    assert judged("class_imbalance").status == "NoIssuesFound"  # it may be learned last
    assert judged("class_imbalance", reading="documented").tensors == ["class 2"]

    answers(saved, targets, given_up, 3)
    assert judged("class_imbalance").tensors == ["class 2"]


def test_a_class_that_is_learned_last_is_no_issue(saved, judged):
    targets = [0, 1, 2] * 100
    for _ in range(2):
        answers(saved, targets, [0 if each == 2 else each for each in targets], 3)
    for _ in range(3):
        answers(saved, targets, targets, 3)

    assert judged("class_imbalance").status == "NoIssuesFound"


def test_an_untrained_network_mistakes_all_classes_which_only_the_documented_reading_minds(
    saved, judged
):
    targets = np.array([0, 1, 2, 3] * 200)
    answers(saved, targets, np.roll(targets, 1), 4)

    assert judged("class_imbalance").status == "NoIssuesFound"
    assert judged("class_imbalance", reading="documented").status == "IssuesFound"


def test_too_few_labels_are_no_health(saved, judged):
    answers(saved, [0, 1] * 20, [0, 1] * 20, 2)

    verdict = judged("class_imbalance")

    assert verdict.status == "NotApplicable"
    assert "40 labels were saved, and 500 are needed" in verdict.reason


def test_other_frameworks_names_do_as_well(saved, judged):
    saved.save({"labels": np.array([0] * 60 + [1] * 3), "predictions": np.array([0] * 63)})

    assert judged("class_imbalance", samples="60").status == "IssuesFound"
    assert judged("confusion", normalise="label").status == "IssuesFound"


def test_ten_perfect_classes_are_not_confused(saved, judged):
    targets = list(range(10)) * 20
    answers(saved, targets, targets, 10)

    assert judged("confusion").status == "NoIssuesFound"


def test_confusion_is_per_predicted_class_or_per_label(saved, judged):
    # of 20 photos of class 0, 6 are taken for class 1, which has 94 of its own
    answers(saved, [0] * 20 + [1] * 94, [0] * 14 + [1] * 6 + [1] * 94, 2)

    assert judged("confusion").status == "NoIssuesFound"  # 94 of 100 are right
    verdict = judged("confusion", normalise="label")
    assert verdict.tensors == ["class 0", "class 0 taken for 1"]
    assert "70 % right" in verdict.reason


def test_confusion_is_judged_by_the_last_evaluation(saved, judged):
    targets = np.array([0, 1] * 20)
    answers(saved, targets, 1 - targets, 2)
    answers(saved, targets, 1 - targets, 2, "EVAL")
    answers(saved, targets, targets, 2)
    answers(saved, targets, targets, 2, "EVAL")

    assert judged("confusion").status == "NoIssuesFound"


def images(mean, std, count=600, low=-9, high=9):
    random = np.random.default_rng(0)
    return np.clip(random.normal(mean, std, (count, 3, 4, 4)), low, high)


@pytest.mark.parametrize(
    ("mean", "std", "centred", "normalised"),
    [
        pytest.param(0, 1, "NoIssuesFound", "NoIssuesFound", id="normalised"),
        pytest.param(-0.4, 1, "IssuesFound", "NoIssuesFound", id="a dark data set"),
        pytest.param(0.45, 0.2, "IssuesFound", "IssuesFound", id="divided by 255 only"),
    ],
)
def test_inputs_are_centred_and_normalised(saved, judged, mean, std, centred, normalised):
    divided = mean == 0.45
    values = images(mean, std, low=0 if divided else -9, high=1 if divided else 9)
    saved.save({"ResNet_input_0": values, "CrossEntropyLoss_input_0": np.ones((2, 2))})

    assert judged("check_input_images").status == centred
    assert judged("input_not_normalised").status == normalised


def test_raw_pixels_are_certain(saved, judged):
    saved.save({"SmallCNN_input_0": images(120, 40, 10, 0, 255)})

    verdict = judged("input_not_normalised")

    assert "raw pixels: from 0 to" in verdict.reason
    assert verdict.sureness == "certain"
    assert "10 images were saved, and 500" in judged("check_input_images").reason


def test_a_photo_of_the_evaluation_that_was_trained_on_is_a_leak(saved, judged):
    photos = images(0, 1, 40)
    saved.save({"ResNet_input_0": photos[:20]})
    saved.save({"ResNet_input_0": photos[20:]}, "EVAL")

    assert judged("label_leakage").status == "NoIssuesFound"

    saved.save({"ResNet_input_0": photos[[3, 7, 30]]}, "EVAL")

    verdict = judged("label_leakage")
    assert "2 of 22 evaluated images (9 %)" in verdict.reason
    assert verdict.sureness == "certain"


def doctor(leaks, left_out, near=0, **more):
    return Evidence(doctor={
        **more,
        "counts": {"leak": leaks, "near leak": near}, "left_out": {"train": left_out},
        "findings": [{"kind": "leak", "names": ["train/a.jpg", "test/b.jpg"]}] * bool(leaks),
    })  # fmt: skip


@pytest.mark.parametrize(
    ("known", "status", "words"),
    [
        pytest.param(doctor(7, 0), "IssuesFound", "train/a.jpg = test/b.jpg", id="trained on"),
        pytest.param(doctor(7, 7), "NoIssuesFound", "7 shared", id="left out"),
        pytest.param(doctor(7, 7, leaks_left_out={"train": 4}), "IssuesFound", "4 were left out",
                     id="left out, some because they cannot be read"),
        pytest.param(doctor(0, 0, 3), "IssuesFound", "3 photos of two splits look", id="near"),
        pytest.param(doctor(0, 0), "NoIssuesFound", "no photo of two splits", id="clean"),
        pytest.param(doctor(0, 0, photos={"train": 9}), "NotApplicable", "one split only",
                     id="one split"),
        pytest.param(
            doctor(0, 0, photos={"train": 9, "test": 4}, looked_at={"train": 5, "test": 2}),
            "NoIssuesFound", "has seen 7 of 13 photos", id="in part",
        ),
        pytest.param(None, "NotApplicable", "doctor.json is not there", id="nothing to look at"),
    ],
)  # fmt: skip
def test_the_doctors_findings_are_leaks_unless_they_were_left_out(
    saved, judged, known, status, words
):
    verdict = judged("label_leakage", known)

    assert verdict.status == status
    assert words in verdict.reason


@pytest.mark.parametrize("rule", ["check_input_images", "input_not_normalised"])
def test_images_that_are_no_numbers_are_no_health(saved, judged, rule):
    saved.save({"Net_input_0": np.full((600, 3, 2, 2), np.nan, np.float32)})

    verdict = judged(rule)

    assert verdict.status == "NotApplicable"
    assert "see nan_or_inf" in verdict.reason


@pytest.mark.parametrize("rule", ["class_imbalance", "confusion"])
def test_labels_of_another_kind_are_not_counted(saved, judged, rule):
    random = np.random.default_rng(0)
    saved.save({LOGITS: random.normal(size=(90, 5, 8, 8)), TARGETS: np.ones((90, 8, 8))})
    saved.save({"labels": random.normal(0, 1e12, 600), "predictions": random.normal(0, 1e12, 600)})
    saved.save({"labels": np.full(600, np.nan), "predictions": np.zeros(600)})

    assert judged(rule).status == "NotApplicable"


def test_photos_that_the_loss_ignores_do_not_count(saved, judged):
    answers(saved, [0, 1] * 300 + [-100] * 9, [0, 1] * 300 + [0] * 9, 2)

    assert judged("class_imbalance").status == "NoIssuesFound"
    assert judged("confusion").status == "NoIssuesFound"


def test_many_classes_need_little_memory(saved, judged):
    saved.save({"labels": np.arange(600) * 1000, "predictions": np.arange(600) * 1000})

    assert judged("confusion").status == "NoIssuesFound"
