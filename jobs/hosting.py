"""Models, endpoints and batch jobs: made, updated behind alarms, called, taken away."""

import hashlib
import json
import mimetypes
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from jobs import launch, names, requests, scaling, watch
from jobs.aws import Aws, CommandError, missing, split
from jobs.project import Project

BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
OPTIONAL = ("DataCaptureConfig", "AsyncInferenceConfig")
"""Of an endpoint's configuration: what is no longer asked for must go."""
LATER_SECONDS, LATER_POLL_SECONDS = 900.0, 1.0
"""For an asynchronous answer: an endpoint that was scaled to nothing starts an instance first."""


def found(aws: Aws, name: str) -> dict[str, Any] | None:
    """The endpoint, if there is one."""
    try:
        made: dict[str, Any] = aws.sagemaker.describe_endpoint(EndpointName=name)
    except ClientError as error:
        if missing(error):
            return None
        raise
    return made


def artifact(aws: Aws, project: Project, asked: str) -> str:
    """The model to serve: an s3:// URI as it is, else a training job's, else the newest one's."""
    if asked.startswith("s3://"):
        return asked
    if asked:
        job = aws.sagemaker.describe_training_job(TrainingJobName=asked)
    else:
        job = launch.latest(aws, project)
    uri = job.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    if not uri:
        raise CommandError(
            f"{job['TrainingJobName']} has left no model ({job['TrainingJobStatus']})",
            "name another job by --model",
        )
    return str(uri)


def make_model(aws: Aws, project: Project, uri: str, word: str) -> str:
    def make(name: str) -> None:
        aws.sagemaker.create_model(**requests.model(project, name, uri))

    return names.made(project, word, make)


def deploy(aws: Aws, project: Project, asked: str, say: watch.Say, wait: bool) -> str:
    """Makes the project's endpoint, or updates it behind its alarms. Returns its name."""
    name, there = project.name, _settled(aws, project.name, say)
    uri = artifact(aws, project, asked)
    if project.deploy.kind == "multi-model":
        uri = _add(aws, project, uri, say)
    alarms = [] if project.deploy.kind == "serverless" else scaling.alarms(project, name)
    for alarm in alarms:
        aws.cloudwatch.put_metric_alarm(**alarm)
    ready = there is not None and _serves(aws, there, uri, project)
    if ready:
        say(f"{name} serves {uri} already")
    else:
        config = _start(aws, project, uri, there is not None, [one["AlarmName"] for one in alarms])
        say(f"{name}: {'made' if there is None else 'updated'} for {uri}")
        if wait:
            watch.endpoint(aws, name, say, config)
    if ready or wait:
        scaling.start(aws, project, say)
    return name


def _settled(aws: Aws, name: str, say: watch.Say) -> dict[str, Any] | None:
    """The endpoint once nothing is being done to it; none where there is none that can be
    updated. One that has failed can only be deleted (API/DescribeEndpoint)."""
    there = found(aws, name)
    if there is not None and there["EndpointStatus"] in BUSY:
        say(f"{name} is {there['EndpointStatus']}: waiting for that first")
        there = watch.settled(aws, name, say)
    if there is not None and there["EndpointStatus"] == "Failed":
        say(f"{name} has failed: {there.get('FailureReason', 'no reason given')}; made anew")
        aws.sagemaker.delete_endpoint(EndpointName=name)
        there = watch.settled(aws, name, say)
    return there


def _start(aws: Aws, project: Project, uri: str, update: bool, alarms: list[str]) -> str:
    """Returns the name of the new configuration."""
    model = make_model(aws, project, uri, "model")
    config = requests.endpoint_config(project, model, model)
    aws.sagemaker.create_endpoint_config(**config)
    if update:
        guarded = {"DeploymentConfig": requests.deployment(project, alarms)} if alarms else {}
        aws.sagemaker.update_endpoint(
            EndpointName=project.name, EndpointConfigName=model, **guarded
        )
    else:
        aws.sagemaker.create_endpoint(
            EndpointName=project.name, EndpointConfigName=model, Tags=requests.tags(project)
        )
    return model


def _serves(aws: Aws, there: dict[str, Any], uri: str, project: Project) -> bool:
    """Whether the endpoint has that model, image and configuration by now, and nothing else."""
    if there["EndpointStatus"] != "InService":
        return False
    config = aws.sagemaker.describe_endpoint_config(EndpointConfigName=there["EndpointConfigName"])
    model = config["ProductionVariants"][0]["ModelName"]
    container = aws.sagemaker.describe_model(ModelName=model)["PrimaryContainer"]
    wanted = requests.endpoint_config(project, there["EndpointConfigName"], model)
    asked = requests.model(project, model, uri)["PrimaryContainer"]
    return (
        all(_within(wanted[key], config.get(key)) for key in wanted if key != "Tags")
        and all(bool(config.get(key)) == (key in wanted) for key in OPTIONAL)
        and _within(asked, container)
        and (container.get("Environment") or {}) == asked.get("Environment", {})
    )


def _within(asked: Any, given: Any) -> bool:
    """Whether everything that is asked for is there; the platform adds more."""
    if isinstance(asked, dict):
        return isinstance(given, dict) and all(
            _within(value, given.get(key)) for key, value in asked.items()
        )
    if isinstance(asked, list):
        return (
            isinstance(given, list) and len(asked) == len(given) and all(map(_within, asked, given))
        )
    return bool(asked == given)


def _add(aws: Aws, project: Project, uri: str, say: watch.Say) -> str:
    """Copies a model to where an endpoint of many looks for them; returns that prefix."""
    prefix = f"{project.prefix}/models/"
    bucket, key = split(uri)
    into, below = split(prefix)
    name = f"{key.split('/')[-3] if key.count('/') > 2 else 'model'}.tar.gz"
    aws.s3.copy({"Bucket": bucket, "Key": key}, into, f"{below}{name}")
    say(f"{prefix}{name}: call it by TargetModel={name}")
    return prefix


def invoke(
    aws: Aws, project: Project, photos: Sequence[Path], say: watch.Say, target: str = ""
) -> None:
    """Sends each photo, and shows what comes back and how long it took."""
    for path in photos:
        kind = mimetypes.guess_type(path.name)[0] or "application/x-image"
        started = time.monotonic()
        if project.deploy.kind == "async":
            body = _later(aws, project, path, kind)
        else:
            more = {"TargetModel": target} if target else {}
            body = aws.runtime.invoke_endpoint(
                EndpointName=project.name, ContentType=kind, Accept="application/json",
                Body=path.read_bytes(), **more,
            )["Body"].read()  # fmt: skip
        seconds = time.monotonic() - started
        try:
            first = json.loads(body)["predictions"][0]
            shown = f"{first['label']} {first['probability']:.1%}"
        except (ValueError, KeyError, IndexError, TypeError):
            shown = body[:200].decode("utf-8", "replace")
        say(f"{path}: {shown} ({seconds * 1000:.0f} ms)")


def _later(aws: Aws, project: Project, path: Path, kind: str) -> bytes:
    """The answer of an asynchronous endpoint, which reads the photo from S3 and writes there."""
    bucket, prefix = split(f"{project.prefix}/async/input")
    content = path.read_bytes()
    key = f"{prefix}/{hashlib.sha256(content).hexdigest()[:16]}-{path.name}"
    aws.s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType=kind)
    said = aws.runtime.invoke_endpoint_async(
        EndpointName=project.name, ContentType=kind, Accept="application/json",
        InputLocation=f"s3://{bucket}/{key}",
    )  # fmt: skip
    deadline = time.monotonic() + LATER_SECONDS
    while time.monotonic() < deadline:
        answer = _object(aws, said["OutputLocation"])
        if answer is not None:
            return answer
        failure = _object(aws, said.get("FailureLocation", ""))
        if failure is not None:
            raise CommandError(f"{path}: {failure[:500].decode('utf-8', 'replace')}")
        time.sleep(LATER_POLL_SECONDS)
    raise CommandError(
        f"{path}: no answer in {LATER_SECONDS:.0f} s",
        f"look at {said['OutputLocation']} later: an endpoint without instances starts one first",
    )


def _object(aws: Aws, uri: str) -> bytes | None:
    if not uri:
        return None
    bucket, key = split(uri)
    try:
        found: bytes = aws.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
    return found


def transform(
    aws: Aws, project: Project, source: str, asked: str, say: watch.Say, wait: bool
) -> str:
    """Classifies every object under `source`. Returns the job's name."""
    project = replace(project, deploy=replace(project.deploy, kind="realtime"))  # one model
    model = make_model(aws, project, artifact(aws, project, asked), "batch")

    def make(name: str) -> None:
        aws.sagemaker.create_transform_job(**requests.transform_job(project, name, model, source))

    name = names.made(project, "transform", make)
    say(f"{name}: started over {source}")
    if wait:
        watch.transform(aws, name, say)
        request = requests.transform_job(project, name, model, source)
        say(f"answers: {request['TransformOutput']['S3OutputPath']}")
    return name


def delete(aws: Aws, project: Project, say: watch.Say) -> None:
    """The endpoint, its configurations, models, scaling and alarms; each if it is there."""
    name = project.name
    there = found(aws, name)
    if there is not None:
        scaling.stop(aws, name)
        if there["EndpointStatus"] != "Deleting":
            aws.sagemaker.delete_endpoint(EndpointName=name)
            say(f"deleted endpoint {name}")
    alarms = [each["AlarmName"] for each in scaling.alarms(project, name)]
    if deleted := scaling.silence(aws, [*alarms, f"{name}-waking"]):
        say(f"deleted {deleted} alarms")
    for each in names.found(aws.sagemaker, project, "model", "config"):
        aws.sagemaker.delete_endpoint_config(EndpointConfigName=each["EndpointConfigName"])
        say(f"deleted endpoint configuration {each['EndpointConfigName']}")
    for word in ("model", "batch"):
        for each in names.found(aws.sagemaker, project, word, "model"):
            aws.sagemaker.delete_model(ModelName=each["ModelName"])
            say(f"deleted model {each['ModelName']}")
