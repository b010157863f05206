"""What the notebook's steps run: the image's own programs here, or jobs on SageMaker.

`Here` and `SageMaker` have the same verbs. Every command is shown before it runs, so that a reader
can type it; nothing is done that the command line would not do.
"""

import atexit
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from local_test import demo

PROJECT = demo.PROJECT
TRANSFORMED = "image/jpeg"
"""A batch job has one type for all of its photos; the server looks at their bytes."""
OF_THE_KERNEL = ("MPLBACKEND", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "PYTHONPATH")
"""What Jupyter tells the notebook's process only."""


class StepError(Exception):
    """A step's program has failed; its own words are above."""


def place(where: str, base: Path, photos: Path, project: str) -> "Here | SageMaker":
    if where == "here":
        return Here(base, photos)
    if where == "sagemaker":
        return SageMaker(PROJECT / Path(project).expanduser(), base, photos)
    raise StepError(f'WHERE = {where!r}: expected "here" or "sagemaker"')


def run(*words: str, quiet: bool = False, **environment: str) -> list[str]:
    """Shows a command and what it prints, line by line; raises StepError where it fails."""
    mine = {name: value for name, value in os.environ.items() if name not in OF_THE_KERNEL}
    own = {**mine, **environment, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}
    said = {name: value for name, value in environment.items() if value}
    print("$", *(f"{name}={short(value)}" for name, value in said.items()), "python", "-m",
          *map(short, words), flush=True)  # fmt: skip
    lines = []
    with subprocess.Popen(
        [sys.executable, "-m", *words], env=own, cwd=PROJECT, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                if not quiet:
                    print(short(lines[-1]), flush=True)
        except BaseException:
            process.terminate()  # as the platform stops a job; it leaves a checkpoint
            raise
    if process.returncode:
        shown = "\n".join(lines[-20:]) if quiet else ""
        raise StepError(f"{shown}\npython -m {words[0]}: exit code {process.returncode}".strip())
    return lines


def short(text: str) -> str:
    """Paths as they are seen from the project's folder."""
    return text.replace(f"{PROJECT}{os.sep}", "")


def photos_of(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """Split -> class -> photos; a folder without splits is one of its own."""
    found: dict[str, dict[str, list[Path]]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in demo.SUFFIXES:
            split = path.relative_to(folder).parts[0] if path.parent.parent != folder else ""
            found.setdefault(split, {}).setdefault(path.parent.name, []).append(path)
    if not found:
        raise StepError(f"{folder} holds no photos; expected folder/split/class/photo")
    return found


def held_out(folder: Path) -> list[Path]:
    """Photos that nothing was chosen by: the test split, else the validation split, else all."""
    splits = photos_of(folder)
    name = next((each for each in ("test", "validation", "val", "valid") if each in splits), None)
    chosen = splits[name] if name else next(iter(splits.values()))
    return [path for paths in chosen.values() for path in paths]


def table(rows: list[dict[str, Any]]) -> None:
    """Rows in columns."""
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _prepared(base: Path, photos: Path) -> Path:
    """A new tree as the platform lays it out, with the photos as its one channel."""
    shutil.rmtree(base, ignore_errors=True)
    for folder in ("input/config", "input/data", "model", "output"):
        (base / folder).mkdir(parents=True)
    (base / "input" / "data" / "training").symlink_to(photos, target_is_directory=True)
    return base


def _answers(folder: Path) -> dict[str, dict[str, Any]]:
    """Photo -> its answer, of the files that a batch leaves."""
    return {
        str(path.relative_to(folder).with_suffix("")): json.loads(path.read_text())
        for path in sorted(folder.rglob("*.out"))
    }


class Here:
    """The programs of the image, without Docker, each under a base folder instead of /opt/ml."""

    def __init__(self, base: Path, photos: Path) -> None:
        self.base, self.photos = base.resolve(), photos.resolve()
        self._server: subprocess.Popen[bytes] | None = None
        self._url = ""

    def tune(self, search: dict[str, Any]) -> None:
        tree = _prepared(self.base / "tuning", self.photos)
        (tree / "input" / "config" / "tuning.json").write_text(json.dumps(search, indent=1))
        run("container.entrypoint", "tune", SAGEMAKER_BASE_DIR=str(tree))

    def trials(self) -> list[dict[str, Any]]:
        """The best first."""
        with (self.base / "tuning" / "output" / "tuning" / "trials.csv").open() as file:
            return [
                {name: _number(value) for name, value in row.items()
                 if name not in ("parent", "reason")}
                for row in csv.DictReader(file)
            ]  # fmt: skip

    def best(self) -> dict[str, str]:
        path = self.base / "tuning" / "output" / "tuning" / "hyperparameters.json"
        made: dict[str, str] = json.loads(path.read_text())
        return made

    def train(self, hyperparameters: dict[str, str]) -> None:
        tree = _prepared(self.base / "training", self.photos)
        config = tree / "input" / "config" / "hyperparameters.json"
        config.write_text(json.dumps(hyperparameters, indent=1))
        run("container.entrypoint", "train", SAGEMAKER_BASE_DIR=str(tree))

    @property
    def report(self) -> Path:
        """The folder of what the training job says about itself."""
        return self.base / "training" / "output" / "data"

    def tensors(self) -> Path:
        """The folder of what the Debugger's hook has saved."""
        return self.base / "training" / "output" / "tensors"

    def deploy(self) -> None:
        self._stop()
        port = demo.free_port()
        words = ["-m", "container.entrypoint", "serve"]
        tree = self.base / "training"
        environment = demo.environment(tree, port)
        print(f"$ SAGEMAKER_BASE_DIR={short(str(tree))} python {' '.join(words)}", flush=True)
        with (self.base / "serve.log").open("wb") as log:
            self._server = subprocess.Popen(
                [sys.executable, *words], env=environment, cwd=PROJECT, stdout=log, stderr=log
            )
        atexit.register(self._stop)
        demo.wait_until_ready(self._server, port)
        self._url = f"http://127.0.0.1:{port}"

    def health(self) -> str:
        with urllib.request.urlopen(f"{self._url}/ping", timeout=10) as answer:
            return f"GET /ping: {answer.status} {answer.read().decode()}"

    def invoke(self, body: bytes, content_type: str, accept: str = "application/json") -> bytes:
        """One POST to /invocations."""
        request = urllib.request.Request(
            f"{self._url}/invocations", body, {"Content-Type": content_type, "Accept": accept}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                made: bytes = answer.read()
                return made
        except urllib.error.HTTPError as error:
            raise StepError(f"HTTP {error.code}: {error.read().decode()[:500]}") from None

    def transform(self, photos: list[Path]) -> dict[str, dict[str, Any]]:
        """As a batch job calls the server: a photo a request, its answer in PHOTO.out."""
        folder = self.base / "transform"
        shutil.rmtree(folder, ignore_errors=True)
        for path in photos:
            answer = self.invoke(path.read_bytes(), TRANSFORMED, "application/jsonlines")
            out = folder / f"{path.relative_to(self.photos)}.out"
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(answer)
        return _answers(folder)

    def clean_up(self) -> None:
        """Stops the server, as the platform does; model and report stay."""
        self._stop()
        left = [each.name() for each in psutil.Process().children(recursive=True)]
        print(f"programs still on: {', '.join(left) or 'none'}")

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


class SageMaker:
    """`python -m jobs` on a copy of the project's file, with the notebook's photos, search and
    hyperparameters in it. Requests are shown before they are sent."""

    def __init__(self, project: Path, base: Path, photos: Path) -> None:
        self.base, self.photos = base.resolve(), photos.resolve()
        self.file = self.base / project.name
        self._project = tomllib.loads(project.read_text(encoding="utf-8"))
        self._project["data"] = {"training": str(self.photos)}
        self._project.setdefault("train", {})["debug_hook"] = True
        self._job = self._search = ""

    def _command(self, name: str, *more: str, request: bool = False) -> list[str]:
        """Runs it over the file as it is to be by now; first without sending, where it asks."""
        self.base.mkdir(parents=True, exist_ok=True)
        self.file.write_text(toml(self._project), encoding="utf-8")
        if request:
            run("jobs", name, str(self.file), *more, "--dry-run")
        return run("jobs", name, str(self.file), *more)

    def _named(self, lines: list[str], word: str) -> str:
        """The job that a command has started, or taken up."""
        name = re.search(rf"\b\S+-{word}-\d+", "\n".join(lines))
        if name is None:
            raise StepError(f"python -m jobs {word} has named no job")
        return name[0]

    def _client(self, name: str) -> Any:
        import boto3

        return boto3.client(name, region_name=self._project.get("region") or None)

    @cached_property
    def _sagemaker(self) -> Any:
        return self._client("sagemaker")

    @cached_property
    def _runtime(self) -> Any:
        return self._client("sagemaker-runtime")

    @cached_property
    def _s3(self) -> Any:
        return self._client("s3")

    @property
    def _prefix(self) -> str:
        return str(self._project["bucket"]).rstrip("/")

    def tune(self, search: dict[str, Any]) -> None:
        self.base.mkdir(parents=True, exist_ok=True)
        spec = self.base / "tuning.json"
        spec.write_text(json.dumps(search, indent=1))
        self._project.setdefault("tune", {})["spec"] = str(spec)
        self._search = self._named(self._command("tune", request=True), "tune")

    def trials(self) -> list[dict[str, Any]]:
        """The best first; those without a value last."""
        pages: list[dict[str, Any]] = []
        more: dict[str, str] = {}
        while not pages or more:
            page = self._sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
                HyperParameterTuningJobName=self._search,
                SortBy="FinalObjectiveMetricValue", SortOrder="Descending", **more,
            )  # fmt: skip
            pages.append(page)
            more = {"NextToken": page["NextToken"]} if page.get("NextToken") else {}
        rows = []
        for job in (each for page in pages for each in page["TrainingJobSummaries"]):
            metric = job.get("FinalHyperParameterTuningJobObjectiveMetric", {})
            tuned = {name: _number(value) for name, value in job["TunedHyperParameters"].items()}
            rows.append({
                "trial": job["TrainingJobName"],
                "state": job["TrainingJobStatus"].lower().replace("completed", "complete"),
                "validation_top1_accuracy": metric.get("Value", ""),
                **tuned,
            })  # fmt: skip
        return rows

    def best(self) -> dict[str, str]:
        search = self._sagemaker.describe_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=self._search
        )
        fixed = json.loads((self.base / "tuning.json").read_text())["TrainingJobDefinition"]
        tuned = search["BestTrainingJob"]["TunedHyperParameters"]
        return {**fixed["StaticHyperParameters"], **tuned}

    def train(self, hyperparameters: dict[str, str]) -> None:
        self._project["train"]["hyperparameters"] = hyperparameters
        self._job = self._named(
            self._command("train", "--into", str(self.base / "jobs-output"), request=True), "train"
        )

    @property
    def report(self) -> Path:
        return self.base / "jobs-output" / self._job / "output"

    def tensors(self) -> Path:
        folder = self.base / "tensors" / self._job
        self._fetch(f"{self._prefix}/debug/{self._job}/debug-output/", folder)
        return folder

    def deploy(self) -> None:
        self._command("deploy", request=True)

    def health(self) -> str:
        name = self._project["name"]
        return f"{name}: {self._sagemaker.describe_endpoint(EndpointName=name)['EndpointStatus']}"

    def invoke(self, body: bytes, content_type: str, accept: str = "application/json") -> bytes:
        """One InvokeEndpoint."""
        made: bytes = self._runtime.invoke_endpoint(
            EndpointName=self._project["name"], Body=body, ContentType=content_type, Accept=accept
        )["Body"].read()
        return made

    def transform(self, photos: list[Path]) -> dict[str, dict[str, Any]]:
        """A batch job over the folder that holds all of them."""
        top = Path(os.path.commonpath([path.parent for path in photos]))
        below = "".join(f"{part}/" for part in top.relative_to(self.photos).parts)
        source = f"{self._prefix}/data/training/{below}"
        lines = self._command("transform", source, request=True)
        folder = self.base / "transform"
        shutil.rmtree(folder, ignore_errors=True)
        self._fetch(
            f"{self._prefix}/transform/{self._named(lines, 'transform')}/",
            folder / below,
        )
        return _answers(folder)

    def clean_up(self) -> None:
        """Everything that costs by the hour, and a word on what is stored."""
        self._command("status")
        self._command("delete")

    def _fetch(self, prefix: str, folder: Path) -> None:
        bucket, _, below = prefix.removeprefix("s3://").partition("/")
        for key in self._keys(bucket, below):
            path = folder / key.removeprefix(below)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._s3.download_file(bucket, key, str(path))

    def _keys(self, bucket: str, prefix: str) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            yield from (each["Key"] for each in page.get("Contents", []))


def toml(content: dict[str, Any]) -> str:
    """A project's file: JSON's strings, numbers and lists are TOML, too; tables go inline."""
    return "".join(f"{name} = {_value(value)}\n" for name, value in content.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{json.dumps(key)} = {_value(each)}" for key, each in value.items())
        return f"{{{inside}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
