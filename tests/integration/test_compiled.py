"""The compiled engine from the job that makes it to the server that answers with it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from artifact import archive
from artifact.preprocess import pixels
from tests import make, serving
from tests.make import npy
from tests.tree import COLOURS, ROOT, Tree, photo


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A job that has made its engine, and its log."""
    tree = Tree(tmp_path_factory.mktemp("job") / "ml")
    tree.channel("train", 20)
    tree.channel("validation", 20)
    done = tree.train(compile_engine="true", epochs="3")
    assert done.returncode == 0, done.stdout + done.stderr
    return tree, done.stdout


@pytest.fixture(scope="module")
def server(job, tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "log"
    with serving.running(job[0].root, log) as ready:
        yield ready


def test_the_job_says_what_it_made_and_why(job):
    tree, log = job
    compiled = tree.description["compiled"]

    assert compiled["precision"] == "int8"
    assert compiled["images"] == 60
    assert compiled["accuracies"].keys() == {"float32", "int8"}
    assert compiled["accuracies"]["float32"] == pytest.approx(
        tree.description["metrics"]["validation"]["top1_accuracy"]
    )
    assert f"compiled engine: int8, {compiled['decision']}" in log
    assert "no more than by chance" in compiled["decision"]
    assert set(tree.description["files"]) == {
        archive.REFERENCE, archive.WEIGHTS, *archive.ENGINE_FILES
    }  # fmt: skip
    assert tree.description["engines"]["openvino-int8"]["tolerance"] >= 0.05
    assert not list((tree.root / "model").glob(".*"))


def test_the_report_has_the_decision(job):
    tree, _ = job
    page = tree.output("report.html").read_text()

    assert "Compiled engine" in page
    assert "no more than by chance" in page


def test_nobody_loads_torch(server):
    for process in (server.worker(), server.engine()):
        mapped = Path(f"/proc/{process.pid}/maps").read_text()
        assert "libtorch" not in mapped
    assert "libopenvino" in Path(f"/proc/{server.engine().pid}/maps").read_text()
    assert "openvino-int8 on cpu" in server.log.read_text()


@pytest.mark.parametrize("label", COLOURS)
def test_a_photo_and_its_tensor_are_answered_alike(job, server, label):
    jpeg = photo(COLOURS[label], 999)
    rules = archive.read_description(job[0].root / "model").preprocessing
    scaled = (pixels(jpeg, rules) / 255 - np.array(rules.mean)) / np.array(rules.std)
    tensor = npy(scaled.transpose(2, 0, 1)[None].astype(np.float32))

    by_photo = server.invoke(jpeg, accept="application/jsonlines").json()
    by_tensor = server.invoke(tensor, "application/x-npy", accept="application/jsonlines").json()

    assert by_photo["label"] == label
    assert by_tensor["prediction"] == pytest.approx(by_photo["prediction"], abs=0.01)


def export(root, code=0):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "container.entrypoint", "export"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(root), "PYTHONPATH": str(ROOT)},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_export_gives_an_old_artifact_an_engine(job, tmp_path):
    tree = Tree(tmp_path / "ml")
    make.artifact(tree.root / "model")
    tree.channel("training", 12)
    before = (tree.root / "model" / archive.WEIGHTS).read_bytes()

    done = export(tree.root)

    compiled = tree.description["compiled"]
    assert "photos: " in done.stdout
    assert compiled["precision"] == "int8"
    assert compiled["images"] > 0
    archive.check_files(tree.root / "model", archive.read_description(tree.root / "model"))
    assert (tree.root / "model" / archive.WEIGHTS).read_bytes() == before


def test_export_without_photos_stays_in_floats_and_says_so(tmp_path):
    model = make.artifact(tmp_path / "ml" / "model")

    done = export(tmp_path / "ml")

    assert "note: no photos under" in done.stdout
    assert json.loads((model / "model.json").read_text())["compiled"]["precision"] == "float32"


def test_export_of_nothing_is_refused(tmp_path):
    (tmp_path / "ml" / "model").mkdir(parents=True)

    done = export(tmp_path / "ml", code=1)

    assert done.stderr.startswith("model: model.json missing")


@pytest.mark.parametrize(
    ("setting", "engine"),
    [("float32", "torch-float32"), ("int8", "openvino-int8")],
)
def test_another_precision_chooses_another_engine(job, tmp_path, setting, engine):
    with serving.running(job[0].root, tmp_path / "log", PRECISION=setting):
        assert f"{engine} on cpu" in (tmp_path / "log").read_text()


def test_a_precision_that_the_artifact_lacks_ends_the_server(tiny_artifact, tmp_path):
    server = serving.launch(tiny_artifact, tmp_path / "log", PRECISION="int8")

    assert server.process.wait(60) != 0
    assert "the artifact has no int8 engine" in (tmp_path / "log").read_text().splitlines()[-1]


def test_a_damaged_engine_ends_the_server_with_the_reason(job, tmp_path):
    shutil.copytree(job[0].root / "model", tmp_path / "ml" / "model")
    path = tmp_path / "ml" / "model" / archive.ENGINE_WEIGHTS
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    server = serving.launch(tmp_path / "ml", tmp_path / "log")

    assert server.process.wait(60) != 0
    assert "model.bin is not the file" in (tmp_path / "log").read_text().splitlines()[-1]
