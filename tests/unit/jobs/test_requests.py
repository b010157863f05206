"""Requests hold against the API's own model, whatever the project asks for."""

import dataclasses
import json

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from describe.__main__ import describe
from jobs import names, requests, scaling
from jobs.project import Deploy, Project, Train, Transform

PROJECT = Project(
    name="dogs",
    image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/photos:1",
    role="arn:aws:iam::123456789012:role/sagemaker",
    bucket="s3://bucket/dogs/",
    data={"train": "s3://bucket/photos", "model": "s3://bucket/model.tar.gz"},
    tags={"team": "vision"},
    train=Train(hyperparameters={"epochs": 3, "pretrained": True, "hidden_units": [16]}),
)
DATA = dict(PROJECT.data)


@pytest.fixture(scope="module")
def described():
    return json.loads(json.dumps(describe()))


def check(service, operation, request):
    model = botocore.session.get_session().get_service_model(service)
    report = ParamValidator().validate(request, model.operation_model(operation).input_shape)
    assert not report.has_errors(), report.generate_report()


def changed(**parts):
    return dataclasses.replace(PROJECT, **parts)


@pytest.mark.parametrize(
    "train",
    [
        PROJECT.train,
        Train(spot=True, count=3, distribution="ShardedByS3Key", checkpoints=False),
        Train(keep_alive_minutes=10, environment={"A": "b"}, kms_key="key"),
        Train(subnets=["subnet-1"], security_groups=["sg-1"], input_mode="Pipe"),
        Train(debug_hook=True, debug_rules=["VanishingGradient"], profiler=True),
    ],
)
def test_a_training_job(described, train):
    request = requests.training_job(
        changed(train=train, region="eu-west-1"), described, "dogs-train-1", DATA
    )

    check("sagemaker", "CreateTrainingJob", request)
    assert ("ProfilerConfig" in request) is train.profiler  # the image has a profiler of its own
    by_name = {each["ChannelName"]: each for each in request["InputDataConfig"]}
    assert by_name["model"]["InputMode"] == "File"
    sources = by_name["train"]["DataSource"]["S3DataSource"]
    assert sources["S3DataDistributionType"] == train.distribution
    if train.spot:
        stopping = request["StoppingCondition"]
        assert stopping["MaxWaitTimeInSeconds"] > stopping["MaxRuntimeInSeconds"]


def test_hyperparameters_are_strings(described):
    request = requests.training_job(PROJECT, described, "dogs-train-1", DATA)

    assert request["HyperParameters"] == {
        "epochs": "3", "pretrained": "true", "hidden_units": "[16]",
    }  # fmt: skip


SPEC = {
    "HyperParameterTuningJobConfig": {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "accuracy"},
        "ParameterRanges": {
            "IntegerParameterRanges": [{"Name": "epochs", "MinValue": "1", "MaxValue": "4"}]
        },
    },
    "TrainingJobDefinition": {
        "StaticHyperParameters": {"network": "resnet18"},
        "AlgorithmSpecification": {"MetricDefinitions": [{"Name": "accuracy", "Regex": "a=(.*)"}]},
    },
}


@pytest.mark.parametrize("spec", [{}, SPEC, SPEC["HyperParameterTuningJobConfig"]])
def test_a_search(described, spec):
    request = requests.tuning_job(
        PROJECT, described, "dogs-tune-1", DATA, requests.search(PROJECT, described, spec)
    )

    check("sagemaker", "CreateHyperParameterTuningJob", request)
    definition = request["TrainingJobDefinition"]
    static = definition["StaticHyperParameters"]
    assert ("epochs" in static) == (spec == {})  # what is searched has no static value
    named = [each["Name"] for each in definition["AlgorithmSpecification"]["MetricDefinitions"]]
    assert len(named) == len(set(named))
    if spec is SPEC:
        assert static["network"] == "resnet18"
        assert named[0] == "accuracy"


KINDS = [
    Deploy(),
    Deploy(kind="serverless"),
    Deploy(kind="async", most=3),
    Deploy(kind="async", to_zero=True),
    Deploy(kind="multi-model", environment={"TOP_K": "3"}),
    Deploy(most=4, capture_percent=10),
]


@pytest.mark.parametrize("deploy", KINDS)
def test_an_endpoint(deploy):
    project = changed(deploy=deploy)

    check("sagemaker", "CreateModel", requests.model(project, "m", "s3://bucket/model.tar.gz"))
    check("sagemaker", "CreateEndpointConfig", requests.endpoint_config(project, "c", "m"))
    for alarm in (*scaling.alarms(project, "dogs"), scaling.waking_alarm("dogs", "arn:aws:x")):
        check("cloudwatch", "PutMetricAlarm", alarm)
    check("application-autoscaling", "RegisterScalableTarget",
          scaling.scalable_target(project, "dogs"))  # fmt: skip
    for policy in (scaling.scaling_policy(project, "dogs"), scaling.waking_policy("dogs")):
        check("application-autoscaling", "PutScalingPolicy", policy)
    check("sagemaker", "UpdateEndpoint", {
        "EndpointName": "dogs", "EndpointConfigName": "c",
        "DeploymentConfig": requests.deployment(project, ["a", "b"]),
    })  # fmt: skip


@pytest.mark.parametrize("concurrency", [1, 8, 100])
def test_a_batch(concurrency):
    project = changed(transform=Transform(count=2, concurrency=concurrency))

    request = requests.transform_job(project, "t", "m", "s3://bucket/photos")

    check("sagemaker", "CreateTransformJob", request)
    assert request["MaxConcurrentTransforms"] == concurrency
    assert 1 <= request["MaxPayloadInMB"] <= 100 / concurrency


@pytest.mark.parametrize(("word", "most"), [("tune", 32), ("train", 63), ("transform", 63)])
def test_names_fit_and_come_in_the_order_of_time(word, most):
    long = changed(name="a" * 40)

    name = names.new(long, word)

    assert len(name) <= most
    assert name.startswith("a")
    assert f"-{word}-" in name
    if word == "tune":
        other = changed(name="a" * 39 + "b")
        assert names.stem(long, word) != names.stem(other, word)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ResourceInUse", "Resource Already Exists: dogs"),
        ("ValidationException", "Cannot create already existing model"),
    ],
)
def test_a_name_that_another_start_took_in_the_same_second_is_passed_over(code, message):
    asked = []

    def make(name):
        asked.append(name)
        if len(asked) == 1:
            raise ClientError({"Error": {"Code": code, "Message": message}}, "Create")

    name = names.made(PROJECT, "train", make)

    assert asked[0] < asked[1] == name


def test_any_other_refusal_is_told_at_once():
    def make(name):
        refused = {"Error": {"Code": "ResourceLimitExceeded", "Message": "0 instances"}}
        raise ClientError(refused, "Create")

    with pytest.raises(ClientError, match="0 instances"):
        names.made(PROJECT, "train", make)


@pytest.mark.parametrize("kind", ["serverless", "multi-model"])
def test_kinds_that_refuse_isolation_are_not_asked_for_it(kind):
    project = changed(deploy=Deploy(kind=kind))

    assert not requests.model(project, "m", "s3://bucket/model.tar.gz")["EnableNetworkIsolation"]


def test_one_instance_has_no_canary():
    one = requests.deployment(PROJECT, [])["BlueGreenUpdatePolicy"]
    several = requests.deployment(changed(deploy=Deploy(count=3)), [])["BlueGreenUpdatePolicy"]

    assert one["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"
    assert several["TrafficRoutingConfiguration"]["Type"] == "CANARY"
