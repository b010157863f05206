"""docker run IMAGE bench, by its entry point."""

import json
import os
import subprocess
import sys

import pytest

from bench import photos
from tests.tree import ROOT


def bench(base, *arguments):
    return subprocess.run(
        [sys.executable, "-P", "-m", "container.entrypoint", "bench", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "SAGEMAKER_BASE_DIR": str(base)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_a_sweep_prints_a_row_for_each_and_the_knee(tiny_artifact, tmp_path):
    (photo,) = photos.made(1)
    (tmp_path / "a.jpg").write_bytes(photo)
    done = bench(tiny_artifact, "--photos", tmp_path, "--concurrency", "4,1", "--seconds", "0.5")

    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    told = json.loads(last)
    assert [line.split()[0] for line in lines[3:5]] == ["1", "4"]
    assert lines[5].startswith(f"knee: {told['knee']} at a time answer ")
    assert list(told["at"]) == ["1", "4"]
    assert all(
        each["images_per_second"] > 0 and not each["refused"] for each in told["at"].values()
    )


@pytest.mark.parametrize(
    ("model", "arguments", "said"),
    [
        pytest.param(False, (), "server stopped: model: ", id="no model"),
        pytest.param(True, ("--photos", "/dev"), "holds no .jpg file", id="no photos"),
        pytest.param(True, ("--concurrency", "0"), "invalid numbers value", id="nobody asks"),
    ],
)
def test_what_cannot_be_measured_is_told(tiny_artifact, tmp_path, model, arguments, said):
    done = bench(tiny_artifact if model else tmp_path, *arguments)

    assert done.returncode != 0
    assert said in done.stderr
