"""Waiting for what runs on the platform: its states, its log line by line, and how it ended."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from jobs.aws import Aws, CommandError, missing

POLL_SECONDS = 10.0
ENDED = ("Completed", "Failed", "Stopped", "InService", "Deleted", "OutOfService",
         "UpdateRollbackFailed")  # fmt: skip
GOOD = ("Completed", "Stopped", "InService")

GROUPS = {
    "train": "/aws/sagemaker/TrainingJobs",
    "transform": "/aws/sagemaker/TransformJobs",
    "endpoint": "/aws/sagemaker/Endpoints",
}
"""Where the platform keeps logs; a job's streams begin with its name."""

Say = Callable[[str], None]


class Log:
    """New lines of all streams of a job."""

    def __init__(self, logs: Any, kind: str, name: str) -> None:
        self._logs, self._group = logs, GROUPS[kind]
        self._prefix = f"{name}/"
        if kind == "endpoint":
            self._group, self._prefix = f"{self._group}/{name}", ""
        self._tokens: dict[str, str | None] = {}

    def lines(self) -> Iterator[str]:
        """With the host in front, where there are several."""
        try:
            self._find()
            for stream in self._tokens:
                yield from self._read(stream)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise  # else there is no log yet

    def _find(self) -> None:
        asked = {"logStreamNamePrefix": self._prefix} if self._prefix else {}
        pages = self._logs.get_paginator("describe_log_streams").paginate(
            logGroupName=self._group, **asked
        )
        for page in pages:
            for each in page["logStreams"]:
                self._tokens.setdefault(each["logStreamName"], None)

    def _read(self, stream: str) -> Iterator[str]:
        host = stream.removeprefix(self._prefix).rpartition("-")[0] or stream
        while True:
            token = self._tokens[stream]
            page = self._logs.get_log_events(
                logGroupName=self._group, logStreamName=stream, startFromHead=True,
                **({"nextToken": token} if token else {}),
            )  # fmt: skip
            self._tokens[stream] = page["nextForwardToken"]
            for event in page["events"]:
                text = event["message"].rstrip("\n")
                yield f"[{host}] {text}" if len(self._tokens) > 1 else text
            if not page["events"] or page["nextForwardToken"] == token:
                return


def training(aws: Aws, name: str, say: Say) -> dict[str, Any]:
    """Returns the job's description; raises CommandError where it failed."""
    told, log = 0, Log(aws.logs, "train", name)
    while True:
        job: dict[str, Any] = aws.sagemaker.describe_training_job(TrainingJobName=name)
        steps = job.get("SecondaryStatusTransitions", [])
        for step in steps[told:]:
            say(f"{name}: {step['Status']}: {step.get('StatusMessage', '')}".rstrip(": "))
        told = len(steps)
        ended = job["TrainingJobStatus"] in ENDED
        for line in log.lines():  # after the status: what came before the end is in there
            say(line)
        if ended:
            return _end(name, job["TrainingJobStatus"], job)
        time.sleep(POLL_SECONDS)


def tuning(aws: Aws, name: str, say: Say) -> dict[str, Any]:
    last: dict[str, int] = {}
    while True:
        job: dict[str, Any] = aws.sagemaker.describe_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name
        )
        counts = {key: count for key, count in job.get("TrainingJobStatusCounters", {}).items()
                  if count}  # fmt: skip
        if counts != last:
            best = job.get("BestTrainingJob", {}).get("FinalHyperParameterTuningJobObjectiveMetric")
            shown = f"; best {best['MetricName']}={best['Value']:.6g}" if best else ""
            said = ", ".join(f"{count} {key}" for key, count in counts.items())
            say(f"{name}: {said}{shown}")
            last = counts
        if job["HyperParameterTuningJobStatus"] in ENDED:
            return _end(name, job["HyperParameterTuningJobStatus"], job)
        time.sleep(POLL_SECONDS)


def transform(aws: Aws, name: str, say: Say) -> dict[str, Any]:
    log = Log(aws.logs, "transform", name)
    while True:
        job: dict[str, Any] = aws.sagemaker.describe_transform_job(TransformJobName=name)
        for line in log.lines():
            say(line)
        if job["TransformJobStatus"] in ENDED:
            return _end(name, job["TransformJobStatus"], job)
        time.sleep(POLL_SECONDS)


def endpoint(aws: Aws, name: str, say: Say, config: str = "") -> dict[str, Any]:
    """Raises CommandError where it ends otherwise than in service, and with `config` if one is
    given: an update that an alarm has rolled back ends in service, too."""
    last, log = "", Log(aws.logs, "endpoint", name)
    while True:
        found: dict[str, Any] = aws.sagemaker.describe_endpoint(EndpointName=name)
        if found["EndpointStatus"] != last:
            last = found["EndpointStatus"]
            say(f"{name}: {last}")
        if last in ENDED:
            back = bool(config) and found["EndpointConfigName"] != config
            if last not in GOOD or back:
                for line in log.lines():
                    say(line)
            return _end(name, "rolled back" if back and last in GOOD else last, found)
        time.sleep(POLL_SECONDS)


def settled(aws: Aws, name: str, say: Say) -> dict[str, Any] | None:
    """The endpoint once nothing is being done to it, however that ended; none once it is gone."""
    last = ""
    while True:
        try:
            found: dict[str, Any] = aws.sagemaker.describe_endpoint(EndpointName=name)
        except ClientError as error:
            if missing(error):
                return None
            raise
        if found["EndpointStatus"] != last:
            last = found["EndpointStatus"]
            say(f"{name}: {last}")
        if last in ENDED:
            return found
        time.sleep(POLL_SECONDS)


def _end(name: str, status: str, job: dict[str, Any]) -> dict[str, Any]:
    if status not in GOOD:
        reason = job.get("FailureReason", "the platform gives no reason")
        raise CommandError(f"{name}: {status}: {reason}", f"python -m jobs logs {name}")
    return job
