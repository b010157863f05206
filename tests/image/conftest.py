"""Tests that run the built image with docker; one line says so where no engine answers."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests import make
from tests.tree import Tree

ROOT = Path(__file__).resolve().parents[2]
IMAGE = os.environ.get("IMAGE", "image-classification:test")
HERE = Path(__file__).resolve().parent

LEFT_OUT = pytest.StashKey[int]()


def pytest_collection_modifyitems(config, items):
    """Marks the tests of this folder; without an engine one line stands for those that need it."""
    ours = [item for item in items if HERE in Path(item.path).parents]
    for item in ours:
        item.add_marker("image")
    left_out = [item for item in ours if "docker" in item.fixturenames]
    if left_out and os.environ.get("REQUIRE_DOCKER") != "1" and not engine_answers():
        config.stash[LEFT_OUT] = len(left_out)
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_terminal_summary(terminalreporter, config):
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(
            f"no Docker engine answers: {count} image tests not run (REQUIRE_DOCKER=1 forbids that)"
        )


def engine_answers() -> bool:
    try:
        asked = subprocess.run(["docker", "info"], capture_output=True, timeout=60, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


@pytest.fixture(scope="session")
def docker():
    """Calls docker."""
    if not engine_answers():
        pytest.fail("no Docker engine answers, and REQUIRE_DOCKER=1", pytrace=False)

    def call(*arguments: str, check: bool = False, timeout: float = 300):
        return subprocess.run(
            ["docker", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=check,
            timeout=timeout,
        )

    return call


@pytest.fixture(scope="session")
def image(docker):
    """The name of the image under test."""
    if docker("image", "inspect", IMAGE).returncode:
        pytest.fail(f"no image {IMAGE}: run `make image`, or name another in IMAGE", pytrace=False)
    return IMAGE


@pytest.fixture(scope="session")
def in_image(docker, image):
    """Runs a program in the image, cut off from the network."""

    def run(*command: str, options: tuple[str, ...] = ()):
        program, *arguments = command
        return docker(
            "run",
            "--rm",
            "--network=none",
            *options,
            f"--entrypoint={program}",
            image,
            *arguments,
        )

    return run


@pytest.fixture(scope="session")
def slim(docker, image):
    """The name of the image that only serves, built from the same Dockerfile."""
    name = f"{image.partition(':')[0]}:slim-test"
    docker(
        "build", "--network=host", "--target=serve-cpu", "-t", name, str(ROOT), check=True,
        timeout=900,
    )  # fmt: skip
    yield name
    docker("rmi", name)


@pytest.fixture(scope="session")
def compiled_model(docker, image, tmp_path_factory):
    """An artifact of a job of before there were engines: `export` in the whole image has given it
    one."""
    folder = tmp_path_factory.mktemp("slim")
    made = make.artifact(folder / "model")
    tree = Tree(folder)
    tree.channel("training", 8)
    photos = tree.data("training")
    docker(
        "run", "--rm", "--network=none", f"-v={made}:/opt/ml/model",
        f"-v={photos}:/opt/ml/input/data/training", image, "export", check=True,
    )  # fmt: skip
    assert json.loads((made / "model.json").read_text())["compiled"]["precision"] == "int8"
    (folder / "photo").mkdir()
    (folder / "photo" / "photo.jpg").write_bytes(make.photo())
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return made
