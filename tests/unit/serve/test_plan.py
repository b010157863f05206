"""How processors are shared out, and that a person can read it."""

import os
from pathlib import Path

import pytest

from container.settings import Settings
from serve.plan import Plan


@pytest.mark.parametrize(
    ("processors", "gpus", "settings", "expected"),
    [
        pytest.param(1, 0, {}, (1, 1, 1, 1), id="one processor"),
        pytest.param(2, 0, {}, (1, 1, 2, 2), id="two"),
        pytest.param(8, 0, {}, (1, 2, 8, 8), id="eight"),
        pytest.param(32, 0, {}, (1, 8, 8, 32), id="too many to be split"),
        pytest.param(8, 0, {"SAGEMAKER_MULTI_MODEL": "true"}, (1, 2, 2, 8), id="of many models"),
        pytest.param(8, 2, {}, (2, 1, 1, 4), id="two GPUs"),
        pytest.param(1, 4, {}, (4, 1, 1, 1), id="more GPUs than processors"),
        pytest.param(8, 0, {"ENGINE_THREADS": "3"}, (1, 1, 3, 3), id="threads as told"),
        pytest.param(8, 0, {"ENGINE_STREAMS": "4"}, (1, 4, 4, 8), id="streams as told"),
        pytest.param(2, 0, {"ENGINE_STREAMS": "8"}, (1, 2, 2, 2), id="a stream needs a thread"),
    ],
)
def test_engines_streams_and_threads(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    processors: int,
    gpus: int,
    settings: dict[str, str],
    expected: tuple[int, int, int, int],
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
    read = Settings.read(settings)
    plan = Plan.make(read, gpus, tmp_path)  # a machine without control groups

    found = (plan.engines, plan.streams_alone, plan.streams, plan.threads)
    assert found == expected
    assert f"plan: {processors} processors" in plan.line(read)
    assert "no quota" in plan.line(read)
