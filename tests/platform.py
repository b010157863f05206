"""An account of the platform whose jobs leave what real ones have left: moto's server, with a
folder of finished runs and a running server behind it.

    python -m tests.platform PORT FOLDER SERVER_URL

moto does the bookkeeping of jobs and endpoints, but runs nothing: here a training job ends with the
artifact, the report and the tensors of FOLDER/training, a search with the trials of FOLDER/tuning,
and an endpoint and a batch job ask the server at SERVER_URL.
"""

import csv
import io
import sys
import tarfile
from pathlib import Path
from typing import Any

import boto3
import requests
from moto.core.responses import ActionResult
from moto.sagemaker.models import SageMakerModelBackend
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse
from moto.server import main


def archive(folder: Path) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return stream.getvalue()


class Account:
    def __init__(self, port: int, base: Path, server: str) -> None:
        self.url, self.base, self.server = f"http://127.0.0.1:{port}", base, server

    def store(self) -> Any:
        return boto3.client("s3", endpoint_url=self.url)

    def put(self, uri: str, body: bytes) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.store().put_object(Bucket=bucket, Key=key, Body=body)

    def ask(self, body: bytes, content_type: str, accept: str) -> requests.Response:
        return requests.post(
            f"{self.server}/invocations", body, timeout=60,
            headers={"Content-Type": content_type, "Accept": accept},
        )  # fmt: skip

    def trained(self, job: Any) -> None:
        place = f"{job.output_data_config['S3OutputPath']}/{job.training_job_name}/output"
        training = self.base / "training"
        self.put(f"{place}/model.tar.gz", archive(training / "model"))
        self.put(f"{place}/output.tar.gz", archive(training / "output" / "data"))
        tensors = training / "output" / "tensors"
        debug = f"{job.debug_hook_config['S3OutputPath']}/{job.training_job_name}/debug-output"
        for path in tensors.rglob("*"):
            if path.is_file():
                self.put(f"{debug}/{path.relative_to(tensors)}", path.read_bytes())

    def trials(self, search: Any) -> list[dict[str, Any]]:
        """Of the finished search; with the hyperparameters that this one asks for."""
        config = search.hyper_parameter_tuning_job_config
        names = [each["Name"] for ranges in config["ParameterRanges"].values() for each in ranges]
        metric = config["HyperParameterTuningJobObjective"]["MetricName"]
        with (self.base / "tuning" / "output" / "tuning" / "trials.csv").open() as file:
            return [
                {
                    "TrainingJobName": f"trial-{row['trial']}",
                    "TrainingJobArn": f"arn:aws:sagemaker:::trial-{row['trial']}",
                    "CreationTime": search.creation_time,
                    "TrainingJobStatus": "Completed",
                    "TunedHyperParameters": {name: row[name] for name in names},
                    "FinalHyperParameterTuningJobObjectiveMetric": {
                        "MetricName": metric, "Value": float(row[metric]),
                    },
                }
                for row in csv.DictReader(file)
            ]  # fmt: skip

    def transformed(self, job: Any) -> None:
        source, out = job.transform_input, job.transform_output
        bucket, _, prefix = (
            source["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://").partition("/")
        )
        store = self.store()
        for page in store.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for each in page.get("Contents", []):
                body = store.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()
                answer = self.ask(body, source["ContentType"], out["Accept"])
                name = each["Key"].removeprefix(prefix)
                self.put(f"{out['S3OutputPath']}/{name}.out", answer.content)


def extend(account: Account) -> None:
    """Lets moto's operations, which end at once, leave something."""
    for name, leave in (
        ("create_training_job", account.trained), ("create_transform_job", account.transformed),
    ):  # fmt: skip
        setattr(SageMakerModelBackend, name, _and(getattr(SageMakerModelBackend, name), leave))

    def search(response: Any) -> Any:
        name = response._get_param("HyperParameterTuningJobName")
        return response.sagemaker_backend.hyper_parameter_tuning_jobs[name]

    describe = SageMakerResponse.describe_hyper_parameter_tuning_job

    def described(response: Any) -> Any:
        search(response).best_training_job = account.trials(search(response))[0]
        return describe(response)

    def listed(response: Any) -> Any:
        return ActionResult({"TrainingJobSummaries": account.trials(search(response))})

    def invoked(response: Any) -> Any:
        asked = response.headers
        answer = account.ask(response.body, asked["Content-Type"], asked["Accept"])
        return answer.status_code, {"Content-Type": answer.headers["Content-Type"]}, answer.content

    SageMakerResponse.describe_hyper_parameter_tuning_job = described
    SageMakerResponse.list_training_jobs_for_hyper_parameter_tuning_job = listed
    SageMakerRuntimeResponse.use_raw_body = True  # else a photo must be UTF-8
    SageMakerRuntimeResponse.invoke_endpoint = invoked


def _and(operation: Any, leave: Any) -> Any:
    def both(*arguments: Any, **named: Any) -> Any:
        job = operation(*arguments, **named)
        leave(job)
        return job

    return both


if __name__ == "__main__":
    port, folder, server = sys.argv[1:]
    extend(Account(int(port), Path(folder), server))
    main(["-H", "127.0.0.1", "-p", port])
