"""Every command of the README runs as it stands there, in its order, at a lowered size where it
would take long."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import readme
from tests.tree import Tree, photo

ROOT = Path(__file__).resolve().parents[2]

LOWERED = {
    "make demo": "DEMO_OPTIONS='--base {base} --set epochs=1 --set image_size=32'",
    "make tune": "TUNE_OPTIONS='--base {base}-tuning --spec {base}.json'",
    "make test": "TESTS='tests/unit/test_architecture.py'",
    "make demo DATA=~/photos": "DEMO_OPTIONS='--base {base} --set epochs=1'",
    "make image": "",
    "make image-demo": "DEMO_OPTIONS='--base {base} --set epochs=1 --set image_size=32'",
    "local_test/train.sh ~/photos -- network=resnet50 pretrained=false fine_tune=all epochs=2": (
        "image_size=64"
    ),
    "local_test/serve.sh": "",
    "local_test/predict.sh ~/photos/val/bees/*.jpg": "",
    "local_test/inspect.sh": "",
    "local_test/batch_transform.sh ~/photos/val": "",
    "local_test/diagnose.sh": "",
    "local_test/train.sh ~/photos -- network=small_cnn pretrained=false fine_tune=all epochs=4 "
    "image_size=64 rules=all": "epochs=1",
    "curl -X POST --data-binary @photo.jpg http://localhost:8080/invocations": "",
    "DOCKER_OPTIONS='--user 12345 --read-only --tmpfs /tmp' local_test/train.sh ~/photos -- "
    "epochs=2 network=small_cnn pretrained=false fine_tune=all image_size=32": "",
    "./build_and_push.sh --dry-run photos": "",
    "docker run --rm image-classification:latest describe": "",
    "docker run --rm image-classification:latest doctor": "",
    ".venv/bin/python -m jobs train jobs/example.toml --dry-run": "",
    ".venv/bin/python -m jobs deploy jobs/example.toml --dry-run": "",
    ".venv/bin/python -m jobs policy jobs/example.toml train": "",
}
"""Command -> what is added to it."""

ELSEWHERE = {
    "make notebook",
    "make sdk",
    'docker run --rm -v "$PWD/model":/opt/ml/model -v '
    '"$PWD/photos":/opt/ml/input/data/training image-classification export',
    "docker build --target serve-cpu -t image-classification-serve .",
    'docker run --rm -p 8080:8080 -v "$PWD/model":/opt/ml/model:ro image-classification-serve',
    "AWS_DEFAULT_REGION=us-east-1 .venv-sdk-v2/bin/python local_test/sdk/v2_local.py ~/photos",
    "AWS_DEFAULT_REGION=us-east-1 .venv-sdk-v3/bin/python local_test/sdk/v3_local.py ~/photos",
}
"""Commands that other tests run: test_notebook.py what `make notebook` does, on smaller photos, and
test_sdk.py those of the SDK, as they stand there; test_slim.py what the last three do, with
folders and a port of its own."""

EXPECTED = {
    "make demo": "true label",
    "make image-demo": "true label",
    "make tune": "best: trial ",
    "local_test/predict.sh ~/photos/val/bees/*.jpg": "bees",
    "curl -X POST --data-binary @photo.jpg http://localhost:8080/invocations": '"predictions"',
    "local_test/batch_transform.sh ~/photos/val": "8 of 8 files have an output",
    "./build_and_push.sh --dry-run photos": "docker push",
    "docker run --rm image-classification:latest describe": '"MetricDefinitions"',
    "docker run --rm image-classification:latest doctor": "doctor: 0 problems",
    ".venv/bin/python -m jobs train jobs/example.toml --dry-run": '"CreateTrainingJob"',
    ".venv/bin/python -m jobs deploy jobs/example.toml --dry-run": '"CreateEndpointConfig"',
    ".venv/bin/python -m jobs policy jobs/example.toml train": "ants-and-bees-*",
    "local_test/diagnose.sh": "profiler-report.html",
}

ISSUES = {"local_test/diagnose.sh": (0, 3)}
"""Exit codes of those that may find something."""


@pytest.fixture
def home(tmp_path):
    """A home with ~/photos; every parent open, for the container may run as another user."""
    made = Tree(tmp_path)
    colours = {"ants": (60, 40, 30), "bees": (220, 180, 40)}
    for split, count in (("train", 10), ("val", 4)):
        made.channel(split, count, colours)
    (tmp_path / "input" / "data").rename(tmp_path / "photos")
    spec = json.loads((ROOT / "local_test" / "tuning.json").read_text())
    spec["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] = 2
    spec["TrainingJobDefinition"]["StaticHyperParameters"] |= {"epochs": "1", "image_size": "32"}
    (tmp_path / "demo.json").write_text(json.dumps(spec))
    for folder in [tmp_path, *tmp_path.parents[:2]]:
        folder.chmod(0o755)
    return tmp_path


def test_every_command_of_the_readme_runs(docker, image, home):
    commands = [each for each in readme.commands() if each not in ELSEWHERE]
    assert set(readme.commands()) == set(LOWERED) | ELSEWHERE, "the README and this table differ"
    photo_path = ROOT / "photo.jpg"
    photo_path.write_bytes(photo((60, 40, 30), 1))
    environment = {
        **os.environ, "HOME": str(home), "VENV": sys.prefix, "AWS_REGION": "us-east-1",
        "IMAGE": image, "DOCKER_CONFIG": str(home / "docker"),
    }  # fmt: skip
    docker("rm", "--force", "local-test-serve-8080")  # of a run that was broken off
    try:
        for command in commands:
            more = LOWERED[command].format(base=home / "demo")
            done = subprocess.run(
                ["bash", "-c", f"{command} {more}"], cwd=ROOT, env=environment,
                capture_output=True, text=True, timeout=900,
            )  # fmt: skip
            fine = done.returncode in ISSUES.get(command, (0,))
            assert fine, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            assert EXPECTED.get(command, "") in done.stdout
    finally:
        photo_path.unlink()
        docker("rm", "--force", "local-test-serve-8080")
