"""The benchmarks that take an image, at a tiny size."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(name, image):
    tiny = ("--network", "small_cnn", "--image-size", "32", "--starts", "1", "--image", image)
    more = ("--seconds", "1", "--rounds", "1") if name == "serving" else ()
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *tiny, *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_image_by_layer_and_in_total(image):
    result = run("image", image)

    assert result.keys() == {
        "benchmark", "setting", "bytes", "layers", "start_seconds", "starts",
    }  # fmt: skip
    assert sum(layer["bytes"] for layer in result["layers"]) == result["bytes"]
    assert any("install_torch" in layer["step"] for layer in result["layers"])
    assert result["start_seconds"] > 0
    assert result["setting"]["versions"]["torch"]


def test_serving_runs_both_servers_in_the_image(docker, image):
    result = run("serving", image)

    assert result["setting"]["image"] == image
    for name in ("ours", "flask"):
        figures = result["servers"][name]
        assert 10 < figures["memory_mib"] < figures["peak_memory_mib"]
        assert figures["at"]["8"]["images_per_second"] > 0
    names = docker("ps", "--all", "--format", "{{.Names}}").stdout
    assert "benchmark-" not in names
