"""The slim image: the server with a compiled engine, without torch, from the same Dockerfile."""

import json
import time

import pytest
import requests

from tests import make
from tests.serving import free_port

MOST_BYTES = 500e6
ANYBODY = ("--user=12345:12345", "--read-only", "--tmpfs=/tmp", "--network=none")
ASK = """
import json, sys, urllib.request
request = urllib.request.Request(
    "http://127.0.0.1:8080/invocations", open("/photo/photo.jpg", "rb").read(),
    {"Content-Type": "image/jpeg", "Accept": "application/jsonlines"},
)
print(urllib.request.urlopen(request).read().decode())
"""


def test_it_is_small(docker, slim):
    found = json.loads(docker("image", "inspect", slim, check=True).stdout)[0]

    assert found["Size"] < MOST_BYTES
    assert found["Config"]["Cmd"] == ["serve"]
    assert found["Config"]["Labels"]["com.amazonaws.sagemaker.capabilities.multi-models"] == "true"


def test_it_holds_no_torch_and_refuses_to_train(docker, slim):
    done = docker("run", "--rm", "--network=none", slim, "train")

    assert done.returncode == 2
    assert "train is not in this image, which serves and does nothing else" in done.stderr
    find = ("--entrypoint=find", slim, "/", "-name", "libtorch*", "-not", "-path", "/proc/*")
    assert not docker("run", "--rm", *find).stdout


@pytest.fixture(scope="module")
def answer(docker, compiled_model):
    """Of an image, to the photo, by any user on a read-only file system without a network."""

    def ask(image: str) -> list[float]:
        name = f"slim-{free_port()}"
        docker(
            "run", "-d", "--rm", f"--name={name}", *ANYBODY,
            f"-v={compiled_model}:/opt/ml/model:ro",
            f"-v={compiled_model.parent}/photo:/photo:ro", image, "serve", check=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                done = docker("exec", name, "python", "-c", ASK)
                if done.returncode == 0:
                    found: list[float] = json.loads(done.stdout)["prediction"]
                    return found
                time.sleep(0.2)
            raise AssertionError(docker("logs", name).stderr)
        finally:
            docker("kill", name)

    return ask


def test_it_answers_as_the_whole_image_does(image, slim, answer):
    assert answer(slim) == pytest.approx(answer(image), abs=0.01)


@pytest.mark.parametrize("gpus", [(), ("--device=/dev/null:/dev/nvidia0",)], ids=["", "a GPU"])
def test_a_published_port_is_answered(docker, slim, compiled_model, gpus):
    """Also where there is a GPU, which nothing here computes on."""
    port = free_port()
    started = docker(
        "run", "-d", "--rm", "-p", f"{port}:8080", "--memory=350m", "--memory-swap=350m", *gpus,
        f"-v={compiled_model}:/opt/ml/model:ro", slim, check=True,
    ).stdout.strip()  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if requests.get(f"http://127.0.0.1:{port}/ping", timeout=2).status_code == 200:
                    break
            except requests.RequestException:  # nothing listens yet, or nobody accepts yet
                time.sleep(0.05)
        else:
            raise AssertionError(docker("logs", started).stderr)
    finally:
        docker("kill", started)


def test_a_model_without_an_engine_is_refused_with_the_way_out(docker, slim, tmp_path):
    make.artifact(tmp_path / "model")

    done = docker("run", "--rm", "--network=none", f"-v={tmp_path}/model:/opt/ml/model:ro", slim)

    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert "the artifact has no compiled engine" in last
    assert "docker run IMAGE export" in last
