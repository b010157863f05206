"""Rules about the size and content of tensors, on tensors that smdebug has written."""

import numpy as np
import pytest

RANDOM = np.random.default_rng(0)


def normal(*shape, scale=1.0):
    return RANDOM.normal(0, scale, shape).astype(np.float32)


def test_one_vanishing_gradient_suffices(saved, judged):
    saved.save({"gradient/Net_a.weight": normal(9), "gradient/Net_b.weight": normal(9) * 1e-9})

    verdict = judged("vanishing_gradient")

    assert verdict.status == "IssuesFound"
    assert verdict.tensors == ["gradient/Net_b.weight"]
    assert "1e-07" in verdict.reason


@pytest.mark.parametrize(("skip", "status"), [("true", "NoIssuesFound"), ("False", "IssuesFound")])
def test_a_bias_in_front_of_a_normalisation_counts_only_as_documented(saved, judged, skip, status):
    saved.save({"gradient/Net_a.weight": normal(9), "gradient/Net_a.bias": normal(9) * 1e-9})

    assert judged("vanishing_gradient", skip_biases=skip).status == status


def test_a_bias_counts_where_its_weight_vanishes_too(saved, judged):
    saved.save({"gradient/N_a.weight": normal(9) * 1e-9, "gradient/N_a.bias": normal(9) * 1e-9})

    assert len(judged("vanishing_gradient").tensors) == 2


def test_a_rule_that_matched_nothing_is_not_healthy(saved, judged):
    saved.save({"CrossEntropyLoss_output_0": 1.0})

    verdict = judged("vanishing_gradient")

    assert verdict.status == "NotApplicable"
    assert "debug_collections=gradients" in verdict.reason


@pytest.mark.parametrize(
    ("value", "only_nan", "status"),
    [
        pytest.param([1, np.nan], "false", "IssuesFound", id="nan"),
        pytest.param([1, np.inf], "false", "IssuesFound", id="infinity"),
        pytest.param([1, np.inf], "true", "NoIssuesFound", id="infinity, only nan"),
        pytest.param([1, 2], "false", "NoIssuesFound", id="finite"),
    ],
)
def test_a_tensor_explodes(saved, judged, value, only_nan, status):
    saved.save({"Net_a.weight": np.array(value, np.float32)})

    assert judged("exploding_tensor", only_nan=only_nan).status == status


def test_infinite_gradients_alone_may_be_a_loss_scalers(saved, judged):
    saved.save({"gradient/Net_a.weight": np.array([np.inf]), "Net_a.weight": normal(3)})

    verdict = judged("exploding_tensor")

    assert verdict.sureness == "possible"
    assert "float16" in verdict.reason


def test_infinite_gradients_alone_are_no_guilty_layer(saved, judged):
    saved.save({"gradient/Net_a.weight": np.array([np.inf]), "Net_a.weight": normal(3)})

    assert judged("nan_or_inf").status == "NoIssuesFound"


def test_the_first_guilty_layer_is_the_first_in_forward_order(saved, judged):
    good = {"Net_z.weight": normal(3), "z_output_0": normal(3), "b_output_0": normal(3)}
    saved.save({**good, "a_output_0": normal(3), "CrossEntropyLoss_output_0": 1.0})
    bad = np.array([np.nan], np.float32)
    saved.save({**good, "b_output_0": bad, "a_output_0": bad, "CrossEntropyLoss_output_0": bad})

    verdict = judged("nan_or_inf")

    assert verdict.details["guilty"] == "b_output_0"  # neither the first by name nor the loss
    assert verdict.tensors[0] == "b_output_0"
    assert verdict.steps == [1]
    assert verdict.sureness == "certain"


def test_half_dead_is_the_limit_of_a_layer(saved, judged):
    alive = np.abs(normal(4, 10, 3, 3)) + 0.1
    half, most = alive.copy(), alive.copy()
    half[:, :5], most[:, :6] = 0, 0
    saved.save({"layer1.0.relu_output_0": half, "ReLU_output_0": alive})

    assert judged("dead_relu").status == "NoIssuesFound"

    saved.save({"layer1.0.relu_output_0": most, "ReLU_output_0": alive})

    verdict = judged("dead_relu")
    assert verdict.tensors == ["layer1.0.relu_output_0"]
    assert "60 % of 10 units" in verdict.reason


def test_a_unit_is_a_channel_or_every_place_of_one(saved, judged):
    output = np.zeros((4, 2, 3, 3), np.float32)
    output[:, :, 0, 0] = 1  # every channel answers somewhere, most places never do
    saved.save({"relu_output_0": output})

    assert judged("dead_relu").status == "NoIssuesFound"
    assert judged("dead_relu", unit="element").status == "IssuesFound"


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        pytest.param("tanh_input_0", 12.0, "IssuesFound", id="tanh"),
        pytest.param("tanh_input_0", -12.0, "IssuesFound", id="tanh, negative"),
        pytest.param("tanh_input_0", 9.0, "NoIssuesFound", id="tanh within"),
        pytest.param("Sigmoid_input_0", 12.0, "NoIssuesFound", id="sigmoid within"),
        pytest.param("Sigmoid_input_0", 18.0, "IssuesFound", id="sigmoid"),
        pytest.param("relu_input_0", 99.0, "NotApplicable", id="neither"),
    ],
)
def test_an_activation_saturates(saved, judged, name, value, status):
    saved.save({name: np.full((4, 6), value, np.float32)})

    assert judged("saturated_activation").status == status


@pytest.mark.parametrize(
    ("bounds", "status"),
    [
        ({}, "NotApplicable"),
        ({"max_threshold": "0.5"}, "IssuesFound"),
        ({"max_threshold": "2", "min_threshold": "None"}, "NoIssuesFound"),
        ({"min_threshold": "2"}, "IssuesFound"),
    ],
)
def test_a_variance_is_bounded_as_asked(saved, judged, bounds, status):
    saved.save({"Net_a.weight": normal(1000)})

    assert judged("tensor_variance", **bounds).status == status


def test_all_zero_fires_at_exactly_all(saved, judged):
    saved.save({"a_output_0": np.zeros(4), "b_output_0": np.array([0, 0, 0, 1.0])})

    verdict = judged("all_zero", tensor_regex="output")

    assert verdict.tensors == ["a_output_0"]
    assert judged("all_zero", tensor_regex="b_out", threshold="75").status == "IssuesFound"


def test_zeros_at_first_and_zeros_that_are_frozen_are_none_unless_strict(saved, judged):
    for _ in range(3):
        saved.save({"Net_bn.bias": np.zeros(4), "gradient/Net_fc.weight": normal(4)})

    assert judged("all_zero", collection_names="biases").status == "NoIssuesFound"
    assert judged("all_zero", collection_names="['biases']", strict="true").times == 3


def test_a_trained_bias_that_stays_zero_fires(saved, judged):
    for _ in range(3):
        saved.save({"Net_fc.bias": np.zeros(4), "gradient/Net_fc.bias": np.zeros(4)})

    assert judged("all_zero", collection_names="biases").steps == [1, 2]


def test_the_labels_of_a_parameter_error_say_what_there_is(judged, saved):
    from debugger.rules.asked import RuleRequestError

    saved.save({"a": 1.0})

    with pytest.raises(RuleRequestError, match="treshold: no such parameter; there are threshold"):
        judged("vanishing_gradient", treshold="1")
    with pytest.raises(RuleRequestError, match="threshold='much': expected a number"):
        judged("vanishing_gradient", threshold="much")


def test_a_rule_fires_once_a_step_however_many_tensors_and_steps_there_are(saved, judged):
    for _ in range(30):
        saved.save({f"gradient/Net_{name}.weight": np.zeros(9) for name in "abc"})

    verdict = judged("vanishing_gradient")

    assert verdict.times == 30
    assert "in 30 of 30 steps" in verdict.reason
