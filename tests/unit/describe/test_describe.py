"""What the image says of itself: valid requests by the API's own model, regexes that find each
number of the log once, ranges that training takes."""

import json
import re
import subprocess
import sys

import botocore.session
import pytest
from botocore.validate import ParamValidator

from describe import metrics, tunable
from describe.__main__ import describe
from train import hyperparameters
from train.progress import metrics_line

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/photos:1"


@pytest.fixture(scope="module")
def service():
    return botocore.session.get_session().get_service_model("sagemaker")


def check(service, operation, request):
    """By the API's own description of the request."""
    shape = service.operation_model(operation).input_shape
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()
    misfits = [*outside(request, shape, operation)]
    assert not misfits


def outside(value, shape, where):
    """Lengths, patterns and enumerations, which botocore leaves to the service."""
    if shape.type_name == "structure":
        for name, member in value.items():
            yield from outside(member, shape.members[name], f"{where}.{name}")
    elif shape.type_name == "list":
        most = shape.metadata.get("max")
        if most is not None and len(value) > most:
            yield f"{where}: {len(value)} of at most {most}"
        for member in value:
            yield from outside(member, shape.member, where)
    elif shape.type_name == "string":
        limits = shape.metadata
        if not limits.get("min", 0) <= len(value) <= limits.get("max", len(value)):
            yield f"{where}: {len(value)} characters"
        if "enum" in limits and value not in limits["enum"]:
            yield f"{where}: {value}"
        pattern = limits.get("pattern")
        if pattern and "\\p" not in pattern and not re.fullmatch(pattern, value):
            yield f"{where}: {value!r} is not {pattern}"


def test_an_algorithm_can_be_made_of_it(service):
    made = describe()
    training = {**made["TrainingSpecification"], "TrainingImage": IMAGE}
    inference = {**made["InferenceSpecification"], "Containers": [{"Image": IMAGE}]}

    check(service, "CreateAlgorithm", {
        "AlgorithmName": "photos", "TrainingSpecification": training,
        "InferenceSpecification": inference,
    })  # fmt: skip


@pytest.mark.parametrize("ranges", ["ParameterRanges", "AllParameterRanges"])
def test_a_tuning_job_can_be_made_of_it(service, ranges):
    made = describe()

    check(service, "CreateHyperParameterTuningJob", {
        "HyperParameterTuningJobName": "photos",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": made["Objectives"][0],
            "ResourceLimits": {"MaxParallelTrainingJobs": 1},
            "ParameterRanges": made[ranges],
        },
        "TrainingJobDefinition": {
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE, "TrainingInputMode": "File",
                "MetricDefinitions": made["MetricDefinitions"],
            },
            "RoleArn": "arn:aws:iam::123456789012:role/train",
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        },
    })  # fmt: skip


def test_training_takes_the_ends_of_every_range_and_every_default():
    ranges = tunable.all_ranges()
    for one in ranges["ContinuousParameterRanges"] + ranges["IntegerParameterRanges"]:
        for end in (one["MinValue"], one["MaxValue"]):
            hyperparameters.parse({one["Name"]: end})
    for one in ranges["CategoricalParameterRanges"]:
        for value in one["Values"]:
            hyperparameters.parse({one["Name"]: value})
    given = {one["Name"]: one["DefaultValue"] for one in tunable.hyperparameters()}
    chosen, warnings = hyperparameters.parse(given)
    assert chosen == hyperparameters.Hyperparameters()
    assert not warnings


VALUES = [0.4312, 1e-05, 3.25e-09, float("nan"), float("inf"), -0.75, 0.0, 1, 123456.75]


@pytest.mark.parametrize("value", VALUES)
def test_each_regex_finds_its_number_once_in_a_line(value):
    names = metrics.EPOCH + metrics.SEVERAL_LABELS
    line = metrics_line({"epoch": 3, "step": 1200, **dict.fromkeys(names, value)})

    for one in metrics.definitions()[: len(names)]:
        found = re.findall(one["Regex"], line)
        assert len(found) == 1, one["Name"]
        assert found[0] == re.search(rf" {one['Name']}=(\S+)", line)[1]


def test_it_is_printed_without_importing_torch():
    program = "import runpy, sys; runpy.run_module('describe', run_name='__main__'); " \
              "assert 'torch' not in sys.modules"  # fmt: skip

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(json.dumps(describe()))
