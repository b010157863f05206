"""Fixtures that several tests share: real ones, made in code."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests import make, serving
from tests.serving import Server


class SideBySide(LoadScopeScheduling):
    """Files side by side, for their fixtures are made once each; but those of the image one after
    the other: they share ports and names."""

    def _split_scope(self, nodeid: str) -> str:
        return "image" if nodeid.startswith("tests/image/") else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return SideBySide(config, log)


@pytest.fixture(scope="session")
def tiny_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base folder whose `model` holds an artifact of three labels for 32 x 32 pixels."""
    base = tmp_path_factory.mktemp("tiny")
    make.artifact(base / "model")
    return base


@pytest.fixture(scope="session")
def server(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A ready server that no test may harm; small limits, so that they are cheap to pass."""
    log = tmp_path_factory.mktemp("server") / "log"
    limits = {"SAGEMAKER_MAX_PAYLOAD_IN_MB": "2", "MAX_PIXELS": "1000000", "MAX_ITEMS": "20"}
    with serving.running(tiny_artifact, log, METRICS="false", **limits) as ready:
        yield ready


@pytest.fixture(scope="session")
def red_jpeg() -> bytes:
    return make.red_jpeg()
