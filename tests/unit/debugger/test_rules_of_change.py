"""Rules that compare a step with earlier ones."""

import numpy as np
import pytest

from tests.saved import Saved, quietly

LOSS = "CrossEntropyLoss_output_0"


def test_a_ratio_is_too_large_or_too_small(saved, judged):
    ones = np.ones(4, np.float32)
    for size in (1.0, 1.01, 50.0, 50.0 * (1 + 1e-3)):
        saved.save({"Net_fc.weight": ones * size, "gradient/Net_fc.weight": ones})

    verdict = judged("weight_update_ratio")

    assert verdict.steps == [2]
    assert "48.5 between steps 1 and 2" in verdict.reason
    assert "learning_rate" in verdict.advice
    assert judged("weight_update_ratio", small_threshold="0.1").times == 3


def test_frozen_weights_have_no_ratio(saved, judged):
    for size in (1.0, 1.1, 1.2):
        saved.save({
            "Net_conv.weight": np.ones(4), "Net_fc.weight": np.full(4, size),
            "gradient/Net_fc.weight": np.ones(4),
        })  # fmt: skip

    assert judged("weight_update_ratio").status == "NoIssuesFound"


@pytest.mark.parametrize(("moves", "status"), [(True, "NoIssuesFound"), (False, "IssuesFound")])
def test_without_gradients_a_still_weight_is_frozen_if_others_move(saved, judged, moves, status):
    for step in range(3):
        saved.save({
            "Net_conv.weight": np.ones(4), "Net_fc.weight": np.full(4, 1 + step * moves / 9),
        })  # fmt: skip

    assert judged("weight_update_ratio").status == status


def test_steps_of_an_evaluation_and_first_zeros_are_not_compared(saved, judged):
    gradient = {"gradient/Net_fc.weight": np.ones(4)}
    saved.save({"Net_fc.weight": np.zeros(4), **gradient})
    saved.save({"Net_fc.weight": np.ones(4), **gradient})
    saved.save({"Net_fc.weight": np.ones(4)}, "EVAL")
    saved.save({"Net_fc.weight": np.full(4, 1.1), **gradient})

    verdict = judged("weight_update_ratio")

    assert verdict.status == "NoIssuesFound"
    assert verdict.looked_at == 1


def test_num_steps_chooses_the_earlier_step_and_formula_the_size(saved, judged):
    for size in (1.0, 4.0, 16.0):
        weight = np.array([size, 0, 0, 0], np.float32)
        saved.save({"Net_fc.weight": weight, "gradient/Net_fc.weight": weight})

    assert judged("weight_update_ratio").status == "NoIssuesFound"  # 3 each
    assert judged("weight_update_ratio", num_steps="2").steps == [2]  # 15
    assert judged("weight_update_ratio", num_steps="2", formula="norm").steps == [2]


def test_unchanged_looks_back_over_the_steps_there_are(saved, judged):
    for step in (0, 3, 7):
        saved.save({"Net_a": np.ones(4)}, at=step)

    verdict = judged("unchanged_tensor", tensor_regex="Net_a")

    assert verdict.steps == [7]


def test_unchanged_never_fires_for_a_tensor_seen_once_or_changed(saved, judged):
    saved.save({"Net_a": np.ones(4)})

    assert judged("unchanged_tensor", tensor_regex="Net_a").status == "NotApplicable"

    for step in range(3):
        saved.save({"Net_a": np.ones(4) + step})

    assert judged("unchanged_tensor", tensor_regex="Net_a").status == "NoIssuesFound"


def test_unchanged_compares_evaluations_and_not_the_mini_batches_of_one(saved, judged):
    def passes(losses):
        for loss in losses:
            saved.save({LOSS: np.float32(loss + 1)})
            for _ in range(3):
                saved.save({LOSS: np.float32(loss)}, "EVAL")

    passes([0.5, 0.4])
    assert judged("unchanged_tensor").status == "NotApplicable"  # two of each mode
    passes([0.3])
    assert judged("unchanged_tensor").status == "NoIssuesFound"
    passes([0.3, 0.3])
    assert judged("unchanged_tensor").status == "IssuesFound"


@pytest.mark.parametrize(("frozen", "status"), [(True, "NotApplicable"), (False, "IssuesFound")])
def test_a_frozen_weight_may_stay(saved, judged, frozen, status):
    name = "other" if frozen else "fc"
    for _ in range(3):
        saved.save({"Net_fc.weight": np.ones(4), f"gradient/Net_{name}.weight": np.ones(4)})

    assert judged("unchanged_tensor", collection_names="weights").status == status


def test_runs_that_should_be_the_same_are_compared_step_by_step(saved, judged, tmp_path):
    other = Saved(tmp_path / "other" / "tensors")
    for step in range(3):
        saved.save({"Net_a.weight": np.ones(4) + step, "mine": 1.0})
        other.save({"Net_a.weight": np.ones(4) + step * (1 + 1e-3 * (step > 1))})

    verdict = judged("similar_across_runs", other_trials=str(tmp_path / "other"))

    assert verdict.details["first_step"] == 2
    assert judged("similar_across_runs", other_trials=str(other.folder), rtol="0.1").times == 0
    assert judged("similar_across_runs").status == "NotApplicable"


def test_a_gap_between_two_saves_is_a_stall(saved, judged):
    import os

    for step in range(3):
        saved.save({"Net_a": float(step)})
    for step, seconds in ((0, 0), (1, 100), (2, 2100)):
        [path] = (saved.folder / "index" / "000000000").glob(f"{step:012d}_*")
        os.utime(path, (1e9 + seconds, 1e9 + seconds))

    verdict = judged("stalled_training_rule")

    assert "2000 s between steps 1 and 2" in verdict.reason
    assert judged("stalled_training_rule", threshold="3000").status == "NoIssuesFound"


def test_beside_a_job_the_newest_file_tells_until_the_job_has_ended(saved):
    from debugger import tensors
    from debugger.rules.stalled_training_rule import StalledTrainingRule

    for step in range(2):
        saved.save({"Net_a": float(step)})
    with quietly():
        rule = StalledTrainingRule(tensors.Tensors(saved.folder), threshold="60")
        for step in range(2):
            rule.invoke(step)
    now = rule._saved

    assert not rule.waiting(now + 30)
    assert rule.waiting(now + 90)

    (saved.folder / "training_job_end.ts").touch()

    assert not rule.waiting(now + 900)


def test_an_update_that_ruins_a_weight_is_too_large(saved, judged):
    for at in range(6):
        broken = np.nan if at > 3 else 1
        saved.save({"Net_fc.weight": np.full(9, (1 + at / 10) * broken, np.float32),
                    "gradient/Net_fc.weight": np.ones(9)})  # fmt: skip

    verdict = judged("weight_update_ratio")

    assert verdict.status == "IssuesFound"
    assert verdict.steps == [4]
    assert "nan between steps 3 and 4" in verdict.reason
    assert "learning_rate 0.1 times it" in verdict.advice


@pytest.mark.parametrize(
    ("rule", "parameters"),
    [("head_not_learning", {}), ("tensor_variance", {"max_threshold": "3"}),
     ("vanishing_gradient", {}), ("weight_update_ratio", {})],
)  # fmt: skip
def test_values_that_are_no_numbers_are_no_health(saved, judged, rule, parameters):
    nothing = np.full(9, np.nan, np.float32)
    for _ in range(6):
        saved.save({"Net_fc.weight": nothing, "gradient/Net_fc.weight": nothing})

    assert judged(rule, **parameters).status == "NotApplicable"
