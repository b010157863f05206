"""Batch transform, asynchronous and serverless endpoints, by the limits of the container."""

import io
import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from PIL import Image

from tests import make

ROOT = Path(__file__).resolve().parents[2]
SERVERLESS = (
    "--memory=1024m",
    "--memory-swap=1024m",
    "--read-only",
    "--tmpfs=/tmp",
    "--user=12345",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A small artifact that any user may read."""
    folder = tmp_path_factory.mktemp("transform")
    make.artifact(folder / "model")
    for path in [folder, *folder.parents[:2], *folder.rglob("*")]:
        path.chmod(0o755)
    return folder


@contextmanager
def serving(docker, image, base, *options):
    """URL and name of a container that is ready."""
    started = docker(
        "run", "--detach", "--publish=127.0.0.1::8080", f"--volume={base}/model:/opt/ml/model:ro",
        *options, image, "serve", check=True,
    )  # fmt: skip
    container = started.stdout.strip()
    try:
        url = "http://" + docker("port", container, "8080/tcp", check=True).stdout.split()[0]
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                if requests.get(f"{url}/ping", timeout=2).status_code == 200:
                    break
            except requests.RequestException:
                time.sleep(0.1)
        else:
            pytest.fail(docker("logs", container).stderr)
        yield url, container
    finally:
        docker("rm", "--force", container)


def post(url, body, timeout=120):
    headers = {"Content-Type": "application/x-image"}
    return requests.post(f"{url}/invocations", body, headers=headers, timeout=timeout)


def test_a_job_over_a_folder_writes_an_output_a_file(docker, image, base, tmp_path):
    for number in range(12):
        place = tmp_path / "photos" / ("ants" if number % 2 else "bees") / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(make.photo(seed=number))
    (tmp_path / "photos/bees/notes.txt").write_text("no photo")

    done = subprocess.run(
        [
            f"{ROOT}/local_test/batch_transform.sh", f"{tmp_path}/photos", str(base), "--",
            "--max-payload", "6", "--max-concurrent", "4",
        ],
        env={**os.environ, "IMAGE": image, "DOCKER_OPTIONS": "--read-only --tmpfs /tmp"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    failed, last = done.stdout.splitlines()
    assert failed.startswith("failed: bees/notes.txt: HTTP 400: ")
    assert last.startswith("12 of 13 files have an output")
    outputs = sorted((base / "transform").rglob("*.out"))
    assert len(outputs) == 12
    assert all(json.loads(path.read_text())["label"] in make.LABELS for path in outputs)
    assert "13/13" in done.stderr


def test_an_asynchronous_endpoints_large_photo_is_answered(docker, image, base):
    """A plain TIFF of 147 MB."""
    stream = io.BytesIO()
    Image.new("RGB", (7000, 7000), (200, 30, 30)).save(stream, "TIFF")
    options = ("--env=SAGEMAKER_MAX_PAYLOAD_IN_MB=1024", "--env=MODEL_SERVER_TIMEOUT=900")

    with serving(docker, image, base, *options) as (url, _):
        answer = post(url, stream.getvalue())

    assert len(stream.getvalue()) > 140_000_000
    assert answer.status_code == 200, answer.text


def test_a_serverless_endpoint_stays_within_its_memory(docker, image, base):
    """The dearest photos that there are, several at a time, of the 4 MB that it may be sent."""
    photo = make.encode(Image.new("RGBA", (7000, 7000), (200, 30, 30, 99)), "PNG", compress_level=1)

    with serving(docker, image, base, *SERVERLESS) as (url, container):
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: post(url, photo), range(6)))
        state = docker("inspect", "--format={{json .State}}", container, check=True).stdout

    assert len(photo) < 4_000_000
    assert [answer.status_code for answer in answers] == [200] * 6
    assert not json.loads(state)["OOMKilled"]
