"""The notebook from top to bottom: by the programs of this machine, by jobs on an account of the
platform, and as it stands in the repository."""

import ast
import hashlib
import json
import os
import re
import subprocess
import sys

import boto3
import psutil
import pytest

from debugger.rules import asked
from tests import serving
from tests.account import KEYS, answering
from tests.tree import ROOT, Tree

COMMITTED = ROOT / "local_test" / "train_and_deploy.ipynb"
MOST_BYTES = 500_000
SMALL = {
    "NOTEBOOK_IMAGE_SIZE": "16", "NOTEBOOK_TRIALS": "2", "NOTEBOOK_TRIAL_EPOCHS": "1",
    "NOTEBOOK_EPOCHS": "3",
}  # fmt: skip
PER_CLASS = {"train": 24, "validation": 4, "test": 5}
CLASSES = 3
PROJECT = """
name = "dogs"
image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/photos:1"
role = "arn:aws:iam::123456789012:role/sagemaker"
bucket = "s3://dogs-bucket/project"
"""


class Story:
    """A notebook with its outputs."""

    def __init__(self, path, base):
        self.text = path.read_text(encoding="utf-8")
        self.base = base
        self.codes = [
            cell for cell in json.loads(self.text)["cells"] if cell["cell_type"] == "code"
        ]

    def cell(self, of):
        """The one cell whose source has these words."""
        (found,) = (cell for cell in self.codes if of in "".join(cell["source"]))
        return found

    def said(self, of):
        """All text that a cell has left."""
        parts = []
        for output in self.cell(of)["outputs"]:
            data = output.get("data", {})
            parts += output.get("text", []), data.get("text/html", []), data.get("text/plain", [])
        return "".join(line for part in parts for line in part)

    def pictures(self, of):
        return [each for each in self.cell(of)["outputs"] if is_picture(each)]

    def table(self, of):
        """Rows of a table, each by its head."""
        lines = [re.split(r" {2,}", line.strip()) for line in self.said(of).splitlines()]
        rows = [line for line in lines if len(line) == len(lines[0])]
        return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def is_picture(output):
    return any(kind.startswith("image/") and data for kind, data in output.get("data", {}).items())


def tell(base, into, **environment):
    own = {**os.environ, **SMALL, "PYTHONPATH": str(ROOT), "NOTEBOOK_BASE": str(base)}
    return subprocess.run(
        [sys.executable, "-m", "local_test.notebook", "--into", str(into)],
        env={**own, **environment}, cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    made = Tree(tmp_path_factory.mktemp("notebook"))
    for split, count in PER_CLASS.items():
        made.channel(split, count)
    return made.root / "input" / "data"


@pytest.fixture(scope="module")
def here(photos):
    base, into = photos.parent / "here", photos.parent / "here.ipynb"

    done = tell(base, into, NOTEBOOK_PHOTOS=str(photos))

    assert done.returncode == 0, done.stdout + done.stderr
    return Story(into, base)


@pytest.fixture(scope="module")
def account(here, tmp_path_factory):
    """Environment of an account whose jobs end with what the programs here have made."""
    port, log = serving.free_port(), tmp_path_factory.mktemp("account")
    with serving.running(here.base / "training", log / "serve") as server:
        words = ("tests.platform", str(port), str(here.base), server.url)
        url = f"http://127.0.0.1:{port}"
        with answering(log, port, *words, AWS_ENDPOINT_URL=url):
            yield {**os.environ, **KEYS, "AWS_ENDPOINT_URL": url, "PYTHONPATH": str(ROOT)}


def client(account, name):
    return boto3.client(
        name, endpoint_url=account["AWS_ENDPOINT_URL"], region_name="us-east-1",
        aws_access_key_id="testing", aws_secret_access_key="testing",
    )  # fmt: skip


@pytest.fixture(scope="module")
def sagemaker(photos, account):
    base, into = photos.parent / "sagemaker", photos.parent / "sagemaker.ipynb"
    project = photos.parent / "dogs.toml"
    project.write_text(PROJECT)
    client(account, "s3").create_bucket(Bucket="dogs-bucket")

    done = tell(
        base, into, **account, NOTEBOOK_PHOTOS=str(photos), NOTEBOOK_WHERE="sagemaker",
        NOTEBOOK_PROJECT=str(project),
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    return Story(into, base)


@pytest.fixture(params=["here", "sagemaker"])
def story(request):
    return request.getfixturevalue(request.param)


def test_the_photos_are_counted_and_shown(story):
    rows = {row["split"]: row for row in story.table("splits = story.photos_of")}

    assert rows == {
        split: {"split": split, "blue": str(count), "green": str(count), "red": str(count)}
        for split, count in PER_CLASS.items()
    }
    assert len(story.pictures("axis.imshow(Pillow.open(path)")) == 1


def test_the_search_ends_with_a_table_a_picture_and_the_best(story):
    rows = story.table("trials = place.trials()")

    values = [float(row["validation_top1_accuracy"]) for row in rows]
    assert len(rows) == 2
    assert values == sorted(values, reverse=True)
    assert len(story.pictures('plt.xlabel("learning_rate")')) == 1
    best = story.said("best = place.best()")
    assert "'network': 'small_cnn'" in best
    found = float(re.search(r"'learning_rate': '([^']+)'", best)[1])
    assert f"{found:.4g}" == rows[0]["learning_rate"]


def test_the_training_is_above_chance_and_shows_what_it_saw(story):
    said = story.said("test_accuracy = evaluation")

    assert float(re.search(r"accuracy ([0-9.]+)%", said)[1]) > 150 / CLASSES
    assert "report.html</a>" in said
    assert len(story.pictures("create_trial(")) == 1
    assert len(story.pictures('"confusion_matrix.png"')) == 2


def test_the_verdicts_and_a_steps_stages_are_read(story):
    said = story.said('"profiler-report.json"')

    assert "profiler-report.html</a>" in said
    counts = ast.literal_eval(re.search(r"^\{.*\}$", said, re.MULTILINE)[0])
    assert sum(counts.values()) >= len(asked.MODULES)
    assert counts["NoIssuesFound"] >= 3
    assert counts["Error"] == 0
    assert len(story.pictures('plt.xlabel("% of a step")')) == 1


def test_three_ways_of_asking_have_one_answer(story):
    rows = story.table("answers = {")

    assert [row["sent as"] for row in rows] == ["photo", "JSON", "NumPy"]
    assert len({row["label"] for row in rows}) == 1
    assert rows[0]["label"] in ("blue", "green", "red")
    values = [float(row["probability"]) for row in rows]
    assert max(values) - min(values) < 0.02


def test_every_photo_of_the_folder_has_an_answer(story):
    count = CLASSES * PER_CLASS["test"]

    said = story.said("lines = place.transform")

    assert f"{count} answers for {count} photos" in said
    files = list((story.base / "transform").rglob("*.out"))
    assert len(files) == count
    assert all(json.loads(path.read_text())["label"] for path in files)
    assert float(re.search(r"([0-9.]+)% of them", said)[1]) > 150 / CLASSES


def test_the_explanation_is_a_picture(story):
    assert len(story.pictures('right.set_title("probability lost")')) == 1


def test_health_is_told_and_nothing_is_left_here(here):
    assert "GET /ping: 200" in here.said("place.deploy()")
    assert "programs still on: none" in here.said("place.clean_up()")
    assert not [each for each in psutil.process_iter() if base_of(each) == str(here.base)]


def base_of(process):
    """Of the notebook that the process, or one above it, was started by."""
    try:
        return process.environ().get("NOTEBOOK_BASE", "")
    except psutil.Error:
        return ""


def test_every_request_is_shown_before_it_is_sent(sagemaker):
    for of, request in (
        ("place.tune(search)", "CreateHyperParameterTuningJob"),
        ("place.train(", "CreateTrainingJob"),
        ("place.deploy()", "CreateEndpointConfig"),
        ("place.transform(", "CreateTransformJob"),
    ):
        said = sagemaker.said(of)
        assert said.index("--dry-run") < said.index(f'"{request}"')
        command = re.search(r"python -m jobs (\w+)", said)[1]
        assert said.count(f"python -m jobs {command} ") == 2


def test_the_jobs_had_the_notebooks_photos_search_and_best(sagemaker, account):
    platform = client(account, "sagemaker")
    (job,) = platform.list_training_jobs()["TrainingJobSummaries"]
    asked = platform.describe_training_job(TrainingJobName=job["TrainingJobName"])
    keys = client(account, "s3").list_objects_v2(
        Bucket="dogs-bucket", Prefix="project/data/training/"
    )["Contents"]

    best = re.search(r"'learning_rate': '([^']+)'", sagemaker.said("best = place.best()"))[1]
    assert asked["HyperParameters"]["learning_rate"] == best
    assert asked["HyperParameters"]["epochs"] == SMALL["NOTEBOOK_EPOCHS"]
    assert len(keys) == CLASSES * sum(PER_CLASS.values())
    (search,) = platform.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"]
    config = platform.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=search["HyperParameterTuningJobName"]
    )["HyperParameterTuningJobConfig"]
    assert config["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 2


def test_the_endpoint_was_there_and_is_gone(sagemaker, account):
    assert "dogs: InService" in sagemaker.said("place.deploy()")
    assert "deleted endpoint dogs" in sagemaker.said("place.clean_up()")
    assert not client(account, "sagemaker").list_endpoints()["Endpoints"]
    assert not client(account, "sagemaker").list_models()["Models"]


def test_a_step_that_fails_is_said_and_nothing_is_written(tmp_path):
    done = tell(tmp_path, tmp_path / "into.ipynb", NOTEBOOK_WHERE="moon")

    assert done.returncode == 1
    assert 'expected "here" or "sagemaker"' in done.stderr
    assert not (tmp_path / "into.ipynb").exists()


@pytest.fixture(scope="module")
def committed():
    return Story(COMMITTED, ROOT / "notebook")


def test_the_committed_outputs_are_of_the_committed_cells(committed):
    sources = ["".join(cell["source"]) for cell in committed.codes]
    digest = hashlib.sha256("\n\0".join(sources).encode()).hexdigest()

    assert json.loads(committed.text)["metadata"]["sources"] == digest, "make notebook"
    counts = [cell["execution_count"] for cell in committed.codes]
    assert counts == list(range(1, len(counts) + 1))


def test_the_committed_outputs_are_small_whole_and_of_no_machine(committed):
    assert len(committed.text.encode()) < MOST_BYTES
    outputs = [output for cell in committed.codes for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert "Traceback" not in committed.text
    assert sum(map(is_picture, outputs)) == 7
    shown = json.dumps([
        {**output, "data": {kind: value for kind, value in output.get("data", {}).items()
                            if not kind.startswith("image/")}}
        for output in outputs
    ])  # fmt: skip
    absolute = re.findall(r"(?<![\w.:/])/(?:home|root|tmp|work|usr|Users|var)/[^\s\"]*", shown)
    assert not absolute


def test_the_committed_run_learned_the_made_up_photos(committed):
    accuracy = re.search(r"accuracy ([0-9.]+)%", committed.said("test_accuracy = evaluation"))[1]

    assert float(accuracy) > 150 / 4
    assert len({row["label"] for row in committed.table("answers = {")}) == 1
    assert "120 answers for 120 photos" in committed.said("lines = place.transform")
    assert "programs still on: none" in committed.said("place.clean_up()")
