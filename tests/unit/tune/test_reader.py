"""The request of CreateHyperParameterTuningJob: what is read, and what is refused."""

import json

import pytest

from container.failure import HyperparameterError
from tune import request
from tune.reader import SpecificationError, parse
from tune.spec import Range

PUBLISHED = {
    "HyperParameterTuningJobName": "photos",
    "HyperParameterTuningJobConfig": {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {
            "Type": "Minimize",
            "MetricName": "Test Loss",
        },
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": {
            "ContinuousParameterRanges": [
                {"Name": "lr", "MinValue": "0.001", "MaxValue": "0.1", "ScalingType": "Auto"},
                {"Name": "eps", "MinValue": "1e-9", "MaxValue": "1e-8"},
                {"Name": "weight_decay", "MinValue": "1e-3", "MaxValue": "1e-1"},
            ],
            "IntegerParameterRanges": [{"Name": "epochs", "MinValue": "2", "MaxValue": "4"}],
            "CategoricalParameterRanges": [
                {"Name": "batch_size", "Values": ["32", "64", "128", "256", "512"]}
            ],
        },
    },
    "TrainingJobDefinition": {
        "StaticHyperParameters": {"network": "resnet50"},
        "AlgorithmSpecification": {
            "TrainingInputMode": "File",
            "TrainingImage": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/image:1",
            "MetricDefinitions": [{"Name": "Test Loss", "Regex": "Testing Loss: ([0-9.]+)"}],
        },
        "RoleArn": "arn:aws:iam::123456789012:role/train",
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
    },
}


def asked(**changes):
    """The published request with other parts of its configuration, as text."""
    config = {**PUBLISHED["HyperParameterTuningJobConfig"], **changes}
    return json.dumps({**PUBLISHED, "HyperParameterTuningJobConfig": config})


def mistakes(text):
    with pytest.raises(SpecificationError) as caught:
        parse(text)
    return "\n".join(caught.value.mistakes)


def test_a_published_request_is_read_as_it_is():
    spec = parse(json.dumps(PUBLISHED))

    assert spec.ranges == (
        Range("batch_size", "categorical", ("32", "64", "128", "256", "512")),
        Range("lr", "continuous", low=0.001, high=0.1, scaling="Logarithmic"),
        Range("eps", "continuous", low=1e-9, high=1e-8, scaling="Logarithmic"),
        Range("weight_decay", "continuous", low=1e-3, high=1e-1, scaling="Logarithmic"),
        Range("epochs", "integer", low=2, high=4),
    )
    assert spec.objective.regex == "Testing Loss: ([0-9.]+)"
    assert not spec.objective.maximize
    assert spec.static == {"network": "resnet50"}
    assert (spec.max_trials, spec.parallel_trials) == (4, 2)


def test_the_configuration_alone_is_enough_and_finds_our_own_metric():
    config = dict(PUBLISHED["HyperParameterTuningJobConfig"])
    config["HyperParameterTuningJobObjective"] = {
        "Type": "Maximize", "MetricName": "validation_top1_accuracy",
    }  # fmt: skip

    spec = parse(json.dumps(config))

    assert spec.objective.regex.startswith(r"\bvalidation_top1_accuracy=")
    assert spec.objective.maximize


def test_a_grid_has_every_combination_once():
    ranges = {"CategoricalParameterRanges": [
        {"Name": "learning_rate", "Values": ["0.001", "0.01"]},
        {"Name": "batch_size", "Values": ["32", "64"]},
        {"Name": "epochs", "Values": ["2", "4"]},
    ]}  # fmt: skip

    spec = parse(asked(Strategy="Grid", ParameterRanges=ranges, ResourceLimits={}))

    assert spec.max_trials == 8
    assert len({tuple(values.items()) for values in spec.grid()}) == 8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "expected a JSON object"),
        (asked(Strategy="Clever"), "Strategy: 'Clever'; one of Bayesian, Random, Grid, Hyperband"),
        (asked(ResourceLimits={}), "ResourceLimits.MaxNumberOfTrainingJobs: missing"),
        (asked(ResourceLimits={"MaxNumberOfTrainingJobs": 0}), "0; a whole number from 1"),
        (asked(ParameterRanges={}), "nothing to search"),
        (asked(Strategy="Grid"), "Grid takes categorical ranges only"),
        (asked(HyperParameterTuningJobObjective={}), "expected a MetricName"),
        (
            asked(HyperParameterTuningJobObjective={"MetricName": "x", "Type": "Minimize"}),
            "the log has no 'x'",
        ),
        (
            asked(ParameterRanges={"IntegerParameterRanges": [
                {"Name": "epochs", "MinValue": "4", "MaxValue": "2"}]}),
            "epochs: MinValue 4 is above MaxValue 2",
        ),
        (
            asked(ParameterRanges={"ContinuousParameterRanges": [
                {"Name": "lr", "MinValue": "0", "MaxValue": "1", "ScalingType": "Logarithmic"}]}),
            "lr: a logarithmic range starts above 0",
        ),
        (asked(Strategy="Hyperband", TrainingJobEarlyStoppingType="Auto"), "set it to Off"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(text, said):
    assert said in mistakes(text)


def test_all_mistakes_are_told_at_once():
    said = mistakes(asked(Strategy="Clever", ResourceLimits={}, TrainingJobEarlyStoppingType="On"))

    assert len(said.splitlines()) == 3


def test_values_that_training_would_refuse_are_told_before_the_first_trial(tmp_path):
    ranges = {
        "ContinuousParameterRanges": [{"Name": "lr", "MinValue": "-1", "MaxValue": "0.1"}],
        "CategoricalParameterRanges": [
            {"Name": "optimizer", "Values": ["adam", "rocket"]},
            {"Name": "bach_size", "Values": ["32"]},
        ],
    }
    (tmp_path / request.FILE).write_text(asked(ParameterRanges=ranges))

    with pytest.raises(HyperparameterError) as caught:
        request.read(tmp_path, print)

    said = "\n".join(caught.value.details)
    assert "lr='-1.0'" in said
    assert "optimizer='rocket'" in said
    assert "bach_size: unknown hyperparameter" in said
    assert len(caught.value.details) == 3


def test_a_request_that_is_not_there_is_asked_for(tmp_path):
    with pytest.raises(HyperparameterError, match="there is no .*tuning.json"):
        request.read(tmp_path, print)
