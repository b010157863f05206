"""Waiting for what takes time, which no local account does: the answers are checked by botocore."""

from datetime import UTC, datetime

import boto3
import pytest
from botocore.stub import Stubber

from jobs import hosting, launch, names, watch
from jobs.aws import Aws, CommandError
from jobs.project import Project

PROJECT = Project(
    name="dogs",
    image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/photos:1",
    role="arn:aws:iam::123456789012:role/sagemaker",
    bucket="s3://dogs-bucket/dogs",
)
JOB, SEARCH = "dogs-train-260101000001", "dogs-tune-260101000001"
BATCH = "dogs-transform-260101000001"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ARN = "arn:aws:sagemaker:eu-west-1:123456789012"


@pytest.fixture
def stubs():
    """Clients whose answers are given in turn; each call is checked, and none may be left."""
    aws, made = Aws("eu-west-1"), {}
    services = {"sagemaker": "sagemaker", "logs": "logs", "cloudwatch": "cloudwatch",
             "autoscaling": "application-autoscaling"}  # fmt: skip
    for name, service in services.items():
        client = boto3.client(
            service, "eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
        )  # fmt: skip
        setattr(aws, name, client)
        made[name] = Stubber(client)
        made[name].activate()
    yield aws, made
    for stub in made.values():
        stub.assert_no_pending_responses()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.0)


def job(status, *steps, **more):
    return {
        "TrainingJobName": JOB, "TrainingJobArn": f"{ARN}:training-job/{JOB}",
        "ModelArtifacts": {"S3ModelArtifacts": "s3://b/k"}, "TrainingJobStatus": status,
        "SecondaryStatus": status, "CreationTime": NOW,
        "AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": "x"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1,
                           "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 1},
        "SecondaryStatusTransitions": [
            {"Status": step, "StartTime": NOW, "StatusMessage": f"{step} now"} for step in steps
        ],
        **more,
    }  # fmt: skip


def log(stub, *lines, first):
    """What a look at the log finds: the streams, then lines until there are none."""
    stub.add_response("describe_log_streams", {"logStreams": [
        {"logStreamName": f"{JOB}/algo-1-1"},
    ]}, {"logGroupName": watch.GROUPS["train"], "logStreamNamePrefix": f"{JOB}/"})  # fmt: skip
    events = [{"timestamp": 1, "message": line, "ingestionTime": 1} for line in lines]
    asked = {"logGroupName": watch.GROUPS["train"], "logStreamName": f"{JOB}/algo-1-1",
             "startFromHead": True}  # fmt: skip
    token = {} if first else {"nextToken": "1"}
    stub.add_response(
        "get_log_events", {"events": events, "nextForwardToken": "1"}, {**asked, **token}
    )
    if events and first:
        stub.add_response(
            "get_log_events", {"events": [], "nextForwardToken": "1"},
            {**asked, "nextToken": "1"},
        )  # fmt: skip


def test_a_job_is_told_step_by_step_and_line_by_line(stubs):
    aws, stub = stubs
    name = {"TrainingJobName": JOB}
    running = job("InProgress", "Starting", "Training")
    stub["sagemaker"].add_response("describe_training_job", job("InProgress", "Starting"), name)
    stub["logs"].add_client_error("describe_log_streams", "ResourceNotFoundException")
    stub["sagemaker"].add_response("describe_training_job", running, name)
    log(stub["logs"], "epoch=1 loss=2", first=True)
    ended = job("Completed", "Starting", "Training", "Completed")
    stub["sagemaker"].add_response("describe_training_job", ended, name)
    log(stub["logs"], "epoch=2 loss=1", first=False)
    said = []

    watch.training(aws, JOB, said.append)

    assert said == [
        f"{JOB}: Starting: Starting now", f"{JOB}: Training: Training now", "epoch=1 loss=2",
        f"{JOB}: Completed: Completed now", "epoch=2 loss=1",
    ]  # fmt: skip


def test_a_failed_job_ends_with_its_own_reason(stubs):
    aws, stub = stubs
    failed = job("Failed", FailureReason="AlgorithmError: data: no photos; fix: add some")
    stub["sagemaker"].add_response("describe_training_job", failed, {"TrainingJobName": JOB})
    log(stub["logs"], first=True)

    with pytest.raises(CommandError, match="Failed: AlgorithmError: data: no photos; fix: add"):
        watch.training(aws, JOB, print)


def test_what_spot_has_saved_is_said():
    ended = job("Completed", BillableTimeInSeconds=30, TrainingTimeInSeconds=100)

    assert "billed 30 s of 1 x ml.m5.xlarge, 70% saved by spot" in launch._bill(ended)


def test_what_runs_is_stopped(stubs):
    aws, stub = stubs
    summary = {
        "TrainingJobName": JOB, "TrainingJobArn": f"{ARN}:training-job/{JOB}",
        "CreationTime": NOW, "TrainingJobStatus": "InProgress",
    }  # fmt: skip
    search = {
        "HyperParameterTuningJobName": SEARCH, "Strategy": "Random",
        "HyperParameterTuningJobArn": f"{ARN}:hyper-parameter-tuning-job/{SEARCH}",
        "HyperParameterTuningJobStatus": "InProgress", "CreationTime": NOW,
        "TrainingJobStatusCounters": {}, "ObjectiveStatusCounters": {},
    }  # fmt: skip
    own = stub["sagemaker"]
    foreign = {**summary, "TrainingJobName": f"hot-{JOB}"}  # another project's holds our name
    second = {**summary, "TrainingJobName": JOB[:-1] + "2"}
    own.add_response("list_training_jobs", {"TrainingJobSummaries": [foreign, summary, second]})
    own.add_response("list_training_jobs", {"TrainingJobSummaries": []})
    for name in (JOB, JOB[:-1] + "2"):
        own.add_response("stop_training_job", {}, {"TrainingJobName": name})
    own.add_response("list_hyper_parameter_tuning_jobs",
                     {"HyperParameterTuningJobSummaries": [search]})  # fmt: skip
    own.add_response("stop_hyper_parameter_tuning_job", {},
                     {"HyperParameterTuningJobName": SEARCH})  # fmt: skip
    batch = {
        "TransformJobName": BATCH, "TransformJobArn": f"{ARN}:transform-job/{BATCH}",
        "CreationTime": NOW, "TransformJobStatus": "InProgress",
    }  # fmt: skip
    own.add_response("list_transform_jobs", {"TransformJobSummaries": [batch]})
    own.add_response("stop_transform_job", {}, {"TransformJobName": BATCH})
    said = []

    launch.stop(aws, PROJECT, said.append)

    stopped = (JOB, JOB[:-1] + "2", SEARCH, BATCH)
    assert said == [f"{name}: stopping" for name in stopped]


def endpoint(status, config="dogs-model-1", **more):
    return {
        "EndpointName": "dogs", "EndpointArn": f"{ARN}:endpoint/dogs", "EndpointStatus": status,
        "EndpointConfigName": config, "CreationTime": NOW, "LastModifiedTime": NOW, **more,
    }  # fmt: skip


def updating(stub, *states):
    """An endpoint of another model, its update, and what it goes through."""
    own = stub["sagemaker"]
    own.add_response("describe_endpoint", endpoint("InService"))
    own.add_response("describe_endpoint_config", {
        "EndpointConfigName": "dogs-model-1", "CreationTime": NOW,
        "EndpointConfigArn": f"{ARN}:endpoint-config/dogs-model-1",
        "ProductionVariants": [{"VariantName": "all", "ModelName": "dogs-model-1"}],
    })  # fmt: skip
    own.add_response("describe_model", {
        "ModelName": "dogs-model-1", "ModelArn": f"{ARN}:model/dogs-model-1", "CreationTime": NOW,
        "PrimaryContainer": {"Image": PROJECT.image, "ModelDataUrl": "s3://old/model.tar.gz"},
    })  # fmt: skip
    made_anew(stub)
    own.add_response("update_endpoint", {"EndpointArn": f"{ARN}:endpoint/dogs"})
    for state, more in states:
        own.add_response("describe_endpoint", endpoint(state, **more))


def made_anew(stub):
    own = stub["sagemaker"]
    for _ in range(2):
        stub["cloudwatch"].add_response("put_metric_alarm", {})
    own.add_response("create_model", {"ModelArn": f"{ARN}:model/dogs-model-2"})
    made = {"EndpointConfigArn": f"{ARN}:endpoint-config/dogs-model-2"}
    own.add_response("create_endpoint_config", made)


def test_an_endpoint_that_has_failed_is_made_anew(stubs):
    aws, stub = stubs
    own = stub["sagemaker"]
    own.add_response("describe_endpoint", endpoint("Failed", FailureReason="no image"))
    own.add_response("delete_endpoint", {}, {"EndpointName": "dogs"})
    own.add_response("describe_endpoint", endpoint("Deleting"))
    own.add_client_error("describe_endpoint", "ValidationException", "Could not find endpoint")
    made_anew(stub)
    own.add_response("create_endpoint", {"EndpointArn": f"{ARN}:endpoint/dogs"})
    said = []

    hosting.deploy(aws, PROJECT, "s3://dogs-bucket/model.tar.gz", said.append, wait=False)

    assert said == ["dogs has failed: no image; made anew", "dogs: Deleting",
                    "dogs: made for s3://dogs-bucket/model.tar.gz"]  # fmt: skip


def test_an_update_goes_through_both_fleets(stubs, monkeypatch):
    aws, stub = stubs
    monkeypatch.setattr(names.time, "strftime", lambda *words: "2")
    updating(stub, ("Updating", {}), ("InService", {"config": "dogs-model-2"}))
    said = []

    stub["autoscaling"].add_client_error(
        "deregister_scalable_target", "ObjectNotFoundException", "No scalable target found"
    )
    stub["cloudwatch"].add_response("describe_alarms", {})

    hosting.deploy(aws, PROJECT, "s3://dogs-bucket/model.tar.gz", said.append, wait=True)

    assert said == ["dogs: updated for s3://dogs-bucket/model.tar.gz", "dogs: Updating",
                    "dogs: InService"]  # fmt: skip


def test_an_update_that_is_rolled_back_is_no_success(stubs):
    aws, stub = stubs
    reason = {"FailureReason": "alarm dogs-errors"}
    updating(stub, ("Updating", {}), ("RollingBack", {}), ("InService", reason))
    stub["logs"].add_client_error("describe_log_streams", "ResourceNotFoundException")

    with pytest.raises(CommandError, match="dogs: rolled back: alarm dogs-errors"):
        hosting.deploy(aws, PROJECT, "s3://dogs-bucket/model.tar.gz", print, wait=True)
