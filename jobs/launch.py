"""Training and tuning jobs: what they need is uploaded, they are started once, and waited for."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from jobs import download, requests, upload, watch
from jobs.aws import Aws, CommandError
from jobs.project import Project, folder

RUNNING = ("InProgress", "Stopping")
TUNING_NAME, TRAINING_NAME = 32, 63
"""Most characters, by the API."""


def described() -> dict[str, Any]:
    """What the image says of itself; the code beside this is the image's."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "describe"], stdout=subprocess.PIPE, text=True, check=True
    )
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def places(project: Project) -> dict[str, str]:
    """Channel -> where its data is, or will be once it is uploaded."""
    return {
        channel: place if place.startswith("s3://") else f"{project.prefix}/data/{channel}"
        for channel, place in project.data.items()
    }


def send_data(aws: Aws, project: Project, beside: Path, say: watch.Say) -> None:
    for channel, place in project.data.items():
        if place.startswith("s3://"):
            continue
        sent = upload.upload(aws.s3, folder(place, beside), places(project)[channel])
        say(f"{channel}: {sent.files} files sent ({sent.bytes / 1e6:,.1f} MB), "
            f"{sent.there} were there")  # fmt: skip


def name_of(project: Project, word: str, most: int) -> str:
    """New, and in the order of time; begins with the project's name, cut where it must be."""
    stamp = f"-{word}-{time.strftime('%y%m%d%H%M%S', time.gmtime())}"
    return project.name[: most - len(stamp)].rstrip("-") + stamp


def running(aws: Aws, project: Project) -> str:
    """The project's training job that has not ended, if there is one."""
    for state in RUNNING:
        for page in aws.sagemaker.get_paginator("list_training_jobs").paginate(
            NameContains=f"{project.name}-train-", StatusEquals=state, SortBy="CreationTime",
            SortOrder="Descending",
        ):  # fmt: skip
            for each in page["TrainingJobSummaries"]:
                return str(each["TrainingJobName"])
    return ""


def latest(aws: Aws, project: Project) -> dict[str, Any]:
    """The newest completed training job. Raises CommandError where there is none."""
    for page in aws.sagemaker.get_paginator("list_training_jobs").paginate(
        NameContains=project.name, StatusEquals="Completed", SortBy="CreationTime",
        SortOrder="Descending",
    ):  # fmt: skip
        for each in page["TrainingJobSummaries"]:
            job: dict[str, Any] = aws.sagemaker.describe_training_job(
                TrainingJobName=each["TrainingJobName"]
            )
            if job["AlgorithmSpecification"].get("TrainingImage"):
                return job
    raise CommandError(
        f"no completed training job has {project.name!r} in its name", "python -m jobs train FILE"
    )


def train(
    aws: Aws, project: Project, beside: Path, say: watch.Say, wait: bool, new: bool, into: Path
) -> str:
    """Starts a job, or takes up the one that runs. Returns its name."""
    name = "" if new else running(aws, project)
    if name:
        say(f"{name} is running: this waits for it; --new starts another one")
    else:
        send_data(aws, project, beside, say)
        name = name_of(project, "train", TRAINING_NAME)
        request = requests.training_job(project, described(), name, places(project))
        aws.sagemaker.create_training_job(**request)
        say(f"{name}: started")
    if wait:
        finished = watch.training(aws, name, say)
        say(_bill(finished))
        download.outputs(aws, finished, into / name, say)
    return name


def _bill(job: dict[str, Any]) -> str:
    paid, lasted = job.get("BillableTimeInSeconds"), job.get("TrainingTimeInSeconds")
    if not paid or not lasted:
        return f"{job['TrainingJobName']}: {job['TrainingJobStatus']}"
    count = job["ResourceConfig"]["InstanceCount"]
    saved = f", {1 - paid / lasted:.0%} saved by spot" if paid < lasted else ""
    return (f"{job['TrainingJobName']}: {job['TrainingJobStatus']} after {lasted} s; billed "
            f"{paid} s of {count} x {job['ResourceConfig']['InstanceType']}{saved}")  # fmt: skip


def specification(project: Project, beside: Path) -> dict[str, Any]:
    """The search's file; an empty one asks for the ranges that the image advises."""
    if not project.tune.spec:
        return {}
    path = (beside / Path(project.tune.spec).expanduser()).resolve()
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(
            f"tune.spec: {path}: {error}", "name the file that `tune` reads"
        ) from None
    if not isinstance(made, dict):
        raise CommandError(f"tune.spec: {path} is no JSON object", "see local_test/tuning.json")
    return made


def tune(aws: Aws, project: Project, beside: Path, say: watch.Say, wait: bool, new: bool) -> str:
    """Starts a search, or takes up the one that runs. Returns its name."""
    name = "" if new else _searching(aws, project)
    if name:
        say(f"{name} is running: this waits for it; --new starts another one")
    else:
        send_data(aws, project, beside, say)
        name = name_of(project, "tune", TUNING_NAME)
        spec = specification(project, beside)
        request = requests.tuning_job(project, described(), name, places(project), spec)
        aws.sagemaker.create_hyper_parameter_tuning_job(**request)
        say(f"{name}: started")
    if wait:
        finished = watch.tuning(aws, name, say)
        best = finished.get("BestTrainingJob")
        if best:
            say(f"best: {best['TrainingJobName']}: {best.get('TunedHyperParameters', {})}")
    return name


def _searching(aws: Aws, project: Project) -> str:
    begins = name_of(project, "tune", TUNING_NAME).rpartition("-")[0]
    for page in aws.sagemaker.get_paginator("list_hyper_parameter_tuning_jobs").paginate(
        NameContains=begins, SortBy="CreationTime", SortOrder="Descending"
    ):
        for each in page["HyperParameterTuningJobSummaries"]:
            if each["HyperParameterTuningJobStatus"] in RUNNING:
                return str(each["HyperParameterTuningJobName"])
    return ""


def stop(aws: Aws, project: Project, say: watch.Say) -> None:
    """Whatever of the project still runs."""
    name = running(aws, project)
    if name:
        aws.sagemaker.stop_training_job(TrainingJobName=name)
        say(f"{name}: stopping")
    search = _searching(aws, project)
    if search:
        try:
            aws.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=search)
            say(f"{search}: stopping")
        except ClientError as error:
            raise CommandError(f"{search} cannot be stopped: {error}") from error
