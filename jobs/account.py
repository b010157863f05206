"""What the project has on the platform, how it stands, and what of it costs money."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

from jobs import hosting, names, upload
from jobs.aws import Aws, CommandError, split
from jobs.project import Project
from jobs.watch import Say

SHOWN = 5
"""Of the newest jobs of a kind."""


def status(aws: Aws, project: Project, say: Say) -> None:
    for job in islice(names.found(aws.sagemaker, project, "train"), SHOWN):
        described = aws.sagemaker.describe_training_job(TrainingJobName=job["TrainingJobName"])
        metrics = {each["MetricName"]: each["Value"]
                   for each in described.get("FinalMetricDataList", [])}  # fmt: skip
        shown = ", ".join(f"{name}={value:.4g}" for name, value in sorted(metrics.items()))
        reason = described.get("FailureReason", "").partition("\n")[0]
        say(f"train     {job['TrainingJobName']}: {job['TrainingJobStatus']}"
            f"{f': {reason}' if reason else ''}{f' ({shown})' if shown else ''}")  # fmt: skip
    for job in islice(names.found(aws.sagemaker, project, "tune"), SHOWN):
        counters = job.get("TrainingJobStatusCounters", {})
        said = ", ".join(f"{count} {name}" for name, count in counters.items() if count)
        say(f"tune      {job['HyperParameterTuningJobName']}: "
            f"{job['HyperParameterTuningJobStatus']} ({said})")  # fmt: skip
    for job in islice(names.found(aws.sagemaker, project, "transform"), SHOWN):
        say(f"transform {job['TransformJobName']}: {job['TransformJobStatus']}")
    endpoint = hosting.found(aws, project.name)
    if endpoint is None:
        say(f"endpoint  none named {project.name}")
    else:
        reason = endpoint.get("FailureReason", "")
        say(f"endpoint  {project.name}: {endpoint['EndpointStatus']}"
            f"{f': {reason}' if reason else ''}, {_size(endpoint)}")  # fmt: skip


def _trained(aws: Aws, project: Project, **asked: Any) -> Iterator[dict[str, Any]]:
    """All training jobs, those of searches too."""
    return chain(
        names.found(aws.sagemaker, project, "train", **asked),
        names.trials(aws.sagemaker, project, **asked),
    )


def _size(endpoint: dict[str, Any]) -> str:
    variant = (endpoint.get("ProductionVariants") or [{}])[0]
    if "CurrentServerlessConfig" in variant:
        return "serverless"
    return f"{variant.get('CurrentInstanceCount', '?')} instances"


def cost(aws: Aws, project: Project, say: Say) -> None:
    """Billed time by instance type, what is on right now, and stored bytes. Prices are the
    platform's, by region and day, so they are not made up here: give `prices` in the file."""
    billed: dict[str, float] = {}
    for each in _trained(aws, project):
        job = aws.sagemaker.describe_training_job(TrainingJobName=each["TrainingJobName"])
        used = job["ResourceConfig"]
        hours = job.get("BillableTimeInSeconds", 0) * used.get("InstanceCount", 1) / 3600
        kind = used.get("InstanceType", "several types")
        billed[kind] = billed.get(kind, 0.0) + hours
    for kind, hours in sorted(billed.items()):
        say(f"trained   {hours:.2f} h of {kind}{_money(project, kind, hours)}")
    if not billed:
        say("trained   nothing")
    on = list(running(aws, project))
    for kind, what, count, since in on:
        hours = (datetime.now(UTC) - since).total_seconds() / 3600 * count
        say(f"on now    {what}: {count} x {kind}, {hours:.1f} h so far"
            f"{_money(project, kind, hours)}{_hourly(project, kind, count)}")  # fmt: skip
    if not on:
        say("on now    nothing")
    count, size = stored(aws, project)
    say(f"stored    {count:,} objects, {size / 1e9:,.2f} GB under {project.prefix}")


def _money(project: Project, kind: str, hours: float) -> str:
    price = project.prices.get(kind)
    return "" if price is None else f", {price * hours:,.2f}"


def _hourly(project: Project, kind: str, count: int) -> str:
    price = project.prices.get(kind)
    return "" if price is None else f", {price * count:,.2f} an hour"


def running(aws: Aws, project: Project) -> Iterator[tuple[str, str, int, datetime]]:
    """Instance type, what it is, how many, since when."""
    endpoint = hosting.found(aws, project.name)
    if endpoint is not None and endpoint["EndpointStatus"] != "Deleting":
        config = aws.sagemaker.describe_endpoint_config(
            EndpointConfigName=endpoint["EndpointConfigName"]
        )
        variant = config["ProductionVariants"][0]
        if "InstanceType" in variant:
            now = (endpoint.get("ProductionVariants") or [{}])[0].get("CurrentInstanceCount")
            yield (
                variant["InstanceType"], f"endpoint {project.name}",
                now or variant["InitialInstanceCount"], endpoint["CreationTime"],
            )  # fmt: skip
    state = {"StatusEquals": "InProgress"}
    for each in _trained(aws, project, **state):
        job = aws.sagemaker.describe_training_job(TrainingJobName=each["TrainingJobName"])
        used = job["ResourceConfig"]
        yield (
            used.get("InstanceType", "several types"), f"job {each['TrainingJobName']}",
            used.get("InstanceCount", 1), each["CreationTime"],
        )  # fmt: skip
    for each in names.found(aws.sagemaker, project, "transform", **state):
        job = aws.sagemaker.describe_transform_job(TransformJobName=each["TransformJobName"])
        used = job["TransformResources"]
        yield (
            used["InstanceType"], f"batch {each['TransformJobName']}", used["InstanceCount"],
            each["CreationTime"],
        )  # fmt: skip


def stored(aws: Aws, project: Project) -> tuple[int, int]:
    """Objects, and their bytes, under the project's prefix."""
    bucket, prefix = split(project.prefix)
    count = size = 0
    pages = aws.s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=f"{prefix}/" if prefix else ""
    )
    for page in pages:
        for each in page.get("Contents", []):
            count, size = count + 1, size + each["Size"]
    return count, size


def empty(aws: Aws, project: Project, say: Say) -> None:
    """Deletes everything under the project's prefix. Raises CommandError for a whole bucket, and
    where something stays."""
    bucket, prefix = split(project.prefix)
    if not prefix:
        raise CommandError(f"{project.bucket} is a whole bucket", "delete what is in it yourself")
    pages = aws.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    gone = 0
    for page in pages:
        keys = [each["Key"] for each in page.get("Contents", [])]
        if keys:
            upload.delete(aws.s3, bucket, keys)
            gone += len(keys)
    say(f"deleted {gone:,} objects under {project.prefix}")
