"""Training and tuning jobs: what they need is uploaded, they are started once, and waited for."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from jobs import download, names, requests, upload, watch
from jobs.aws import Aws, CommandError
from jobs.project import Project, folder
from tune import reader

RUNNING = ("InProgress", "Stopping")


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
        # a whole folder: without the end, `train` would take `train_lst`, too
        channel: place if place.startswith("s3://") else f"{project.prefix}/data/{channel}/"
        for channel, place in project.data.items()
    }


def send_data(aws: Aws, project: Project, beside: Path, say: watch.Say, prune: bool) -> None:
    """Raises CommandError where the bucket has files that the folder has not, without `prune`."""
    for channel, place in project.data.items():
        if place.startswith("s3://"):
            continue
        uri = places(project)[channel]
        sent = upload.upload(aws.s3, folder(place, beside), uri, prune)
        gone = f", {sent.gone} deleted" if sent.gone and prune else ""
        say(f"{channel}: {sent.files} files sent ({sent.bytes / 1e6:,.1f} MB), "
            f"{sent.there} were there{gone}")  # fmt: skip
        if sent.gone and not prune:
            raise CommandError(
                f"{uri} holds {sent.gone} files that {place} has not: {', '.join(sent.examples)}",
                "--prune deletes them; a job would train on them",
            )


def running(aws: Aws, project: Project) -> list[str]:
    """The project's training jobs that have not ended, the newest first."""
    return [
        str(each["TrainingJobName"])
        for state in RUNNING
        for each in names.found(aws.sagemaker, project, "train", StatusEquals=state)
    ]


def searching(aws: Aws, project: Project) -> list[str]:
    """The same of its searches."""
    return [
        str(each["HyperParameterTuningJobName"])
        for each in names.found(aws.sagemaker, project, "tune")
        if each["HyperParameterTuningJobStatus"] in RUNNING
    ]


def newest(aws: Aws, project: Project) -> dict[str, Any]:
    """The newest training job, however it stands. Raises CommandError where there is none."""
    job = next(names.found(aws.sagemaker, project, "train"), None)
    if job is None:
        raise CommandError(
            f"the project {project.name!r} has no training job", "python -m jobs train FILE"
        )
    return _described(aws, job["TrainingJobName"])


def _described(aws: Aws, name: str) -> dict[str, Any]:
    made: dict[str, Any] = aws.sagemaker.describe_training_job(TrainingJobName=name)
    return made


def latest(aws: Aws, project: Project) -> dict[str, Any]:
    """The newest completed training job, or the best one of a search that is newer. Raises
    CommandError where there is neither."""
    done = {"StatusEquals": "Completed"}
    job = next(names.found(aws.sagemaker, project, "train", **done), None)
    search = next(names.found(aws.sagemaker, project, "tune", **done), None)
    name = job["TrainingJobName"] if job else ""
    if search and not (job and job["CreationTime"] > search["CreationTime"]):
        described = aws.sagemaker.describe_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=search["HyperParameterTuningJobName"]
        )
        name = described.get("BestTrainingJob", {}).get("TrainingJobName", name)
    if not name:
        raise CommandError(
            f"the project {project.name!r} has no completed training job",
            "python -m jobs train FILE",
        )
    return _described(aws, name)


def _taken_up(there: list[str], say: watch.Say) -> str:
    """The newest of what runs, in place of a new one."""
    say(f"{there[0]} is running: this waits for it; --new starts another one")
    return there[0]


def train(
    aws: Aws,
    project: Project,
    beside: Path,
    say: watch.Say,
    wait: bool,
    new: bool,
    into: Path,
    prune: bool = False,
) -> str:
    """Starts a job, or takes up the one that runs. Returns its name."""
    there = [] if new else running(aws, project)
    if there:
        name = _taken_up(there, say)
    else:
        send_data(aws, project, beside, say, prune)
        image = described()

        def make(name: str) -> None:
            request = requests.training_job(project, image, name, places(project))
            aws.sagemaker.create_training_job(**request)

        name = names.made(project, "train", make)
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


def specification(project: Project, described: dict[str, Any], beside: Path) -> dict[str, Any]:
    """The search's file, with the image's own ranges and objective where it has none. Raises
    CommandError with every mistake."""
    made: Any = {}
    path = (beside / Path(project.tune.spec).expanduser()).resolve()
    if project.tune.spec:
        try:
            made = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CommandError(
                f"tune.spec: {path}: {error}", "name the file that `tune` reads"
            ) from None
    request = requests.search(project, described, made) if isinstance(made, dict) else made
    try:
        reader.parse(json.dumps(request))
    except reader.SpecificationError as error:
        raise CommandError(
            f"tune.spec: {path}: {'; '.join(error.mistakes)}", "see local_test/tuning.json"
        ) from error
    return dict(request)


def tune(
    aws: Aws,
    project: Project,
    beside: Path,
    say: watch.Say,
    wait: bool,
    new: bool,
    prune: bool = False,
) -> str:
    """Starts a search, or takes up the one that runs. Returns its name."""
    there = [] if new else searching(aws, project)
    if there:
        name = _taken_up(there, say)
    else:
        image = described()
        asked = specification(project, image, beside)
        send_data(aws, project, beside, say, prune)

        def make(name: str) -> None:
            request = requests.tuning_job(project, image, name, places(project), asked)
            aws.sagemaker.create_hyper_parameter_tuning_job(**request)

        name = names.made(project, "tune", make)
        say(f"{name}: started")
    if wait:
        finished = watch.tuning(aws, name, say)
        best = finished.get("BestTrainingJob")
        if best:
            say(f"best: {best['TrainingJobName']}: {best.get('TunedHyperParameters', {})}")
    return name


def stop(aws: Aws, project: Project, say: watch.Say) -> None:
    """Whatever of the project still runs."""
    for name in running(aws, project):
        aws.sagemaker.stop_training_job(TrainingJobName=name)
        say(f"{name}: stopping")
    for name in searching(aws, project):
        aws.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        say(f"{name}: stopping")
    for each in names.found(aws.sagemaker, project, "transform", StatusEquals="InProgress"):
        aws.sagemaker.stop_transform_job(TransformJobName=each["TransformJobName"])
        say(f"{each['TransformJobName']}: stopping")
