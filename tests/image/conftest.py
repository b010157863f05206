"""Tests that run the built image with docker; one line says so where no engine answers."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGE = os.environ.get("IMAGE", "image-classification:test")
HERE = Path(__file__).resolve().parent

NO_ENGINE = "no Docker engine answers: the image tests are skipped (REQUIRE_DOCKER=1 forbids that)"


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker("image")


def engine_answers() -> bool:
    try:
        asked = subprocess.run(["docker", "info"], capture_output=True, timeout=60, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


@pytest.fixture(scope="session")
def docker():
    """Calls docker; the tests of this fixture are skipped, or fail, where no engine answers."""
    if not engine_answers():
        if os.environ.get("REQUIRE_DOCKER") == "1":
            pytest.fail("no Docker engine answers, and REQUIRE_DOCKER=1", pytrace=False)
        pytest.skip(NO_ENGINE)

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
