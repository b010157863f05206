"""The compiled engine of an artifact: the same answers, floats or bytes, and never with torch."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from artifact import archive, compiled
from artifact.inference import Classifier
from artifact.preprocess import pixels
from tests import make
from tests.tree import ROOT

SIDE = make.IMAGE_SIZE


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make.compiled_artifact(tmp_path_factory.mktemp("compiled") / "model")


@pytest.fixture(scope="module")
def engine(model):
    return compiled.CompiledClassifier(model, threads=1)


@pytest.fixture(scope="module")
def photos(model):
    rules = archive.read_description(model).preprocessing
    return np.stack([pixels(make.photo(seed=seed), rules) for seed in range(3)])


def normalised(photos, model):
    rules = archive.read_description(model).preprocessing
    scaled = (photos / 255 - np.array(rules.mean)) / np.array(rules.std)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), np.float32)


def test_answers_are_those_of_the_network(model, engine, photos):
    answers = engine.classify(photos)

    assert engine.name == "openvino-float32"
    assert answers == pytest.approx(Classifier(model).classify(photos), abs=1e-4)
    assert answers.sum(1) == pytest.approx([1, 1, 1], abs=1e-5)


def test_streams_answer_batches_at_the_same_time_as_one_stream_does(model, engine, photos):
    floats = normalised(photos, model) * 1.01  # of no photo: the other graph
    batches = [photos[: 1 + turn % 3] if turn % 2 else floats for turn in range(64)]
    several = compiled.CompiledClassifier(model, threads=2, streams=2)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(several.classify, batches))

    for batch, answer in zip(batches, answers, strict=True):
        assert answer == pytest.approx(engine.classify(batch), abs=1e-5)


def test_more_batches_than_share_all_threads_are_answered_alike_before_and_after_the_split(
    model, engine, photos
):
    several = compiled.CompiledClassifier(model, threads=2, streams=2, alone=1)
    batches = [photos[: 1 + turn % 3] for turn in range(32)]

    def answered() -> list:
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(several.classify, batches))

    before = answered()
    several.prepare()
    after = answered()

    for batch, first, second in zip(batches, before, after, strict=True):
        expected = engine.classify(batch)
        assert first == pytest.approx(expected, abs=1e-5)
        assert second == pytest.approx(expected, abs=1e-5)
    assert several.batch_images == 2


def test_a_photo_and_its_normalised_floats_are_answered_alike_to_the_bit(model, engine, photos):
    floats = normalised(photos, model)
    written = np.array([[float(f"{each:.4f}") for each in floats.flat]], np.float32)

    assert engine.classify(floats).tolist() == engine.classify(photos).tolist()
    few_digits = engine.classify(written.reshape(floats.shape))
    assert few_digits.tolist() == engine.classify(photos).tolist()


@pytest.mark.parametrize(
    "floats",
    [
        pytest.param(lambda photos: photos + 0.01, id="between pixels"),
        pytest.param(lambda photos: photos * 3, id="beyond what pixels can be"),
    ],
)
def test_floats_that_are_no_photo_are_answered_as_they_are(model, engine, photos, floats):
    given = np.ascontiguousarray(floats(normalised(photos, model)), np.float32)

    answers = engine.classify(given)

    assert answers == pytest.approx(Classifier(model).classify(given), abs=1e-4)
    assert np.abs(answers - engine.classify(photos)).max() > 1e-6


def test_it_runs_where_there_is_no_torch(model):
    program = f"""
import sys
for absent in ("torch", "torchvision", "nncf", "safetensors"):
    sys.modules[absent] = None
from pathlib import Path
from artifact.compiled import CompiledClassifier
print(CompiledClassifier(Path({str(model)!r}), 1).reference().tolist())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    expected = archive.read_description(model).reference_probabilities
    assert json.loads(done.stdout) == pytest.approx(expected, abs=1e-4)


def test_importing_it_looks_up_no_host():
    program = """
import socket, sys
def refused(*arguments, **named):
    raise AssertionError(f"a look-up of {arguments}")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = refused
from artifact.compiled import runtime, runtime_to_serve
runtime_to_serve()
assert "openvino.tools.ovc.convert" not in sys.modules
runtime()
from train.compiled.quantise import _library
_library()
assert "openvino_telemetry.main" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_a_signal_finds_its_way_after_engines_are_gone(model):
    program = """
import faulthandler, os, signal, sys
from pathlib import Path
from artifact.compiled import CompiledClassifier
faulthandler.enable()  # with a stack of its own for signals
signal.signal(signal.SIGCHLD, lambda *_: None)
engines = [CompiledClassifier(Path(sys.argv[1]), threads=1) for _ in range(3)]
while engines:
    engines.pop(0)
os.kill(os.getpid(), signal.SIGCHLD)
"""
    done = subprocess.run([sys.executable, "-c", program, str(model)], cwd=ROOT, check=False)

    assert done.returncode == 0


def changed(model, folder, **values):
    shutil.copytree(model, folder)
    path = folder / archive.DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


@pytest.mark.parametrize("name", archive.ENGINE_FILES)
def test_a_damaged_engine_is_refused(model, tmp_path, name):
    folder = changed(model, tmp_path / "model")
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)

    with pytest.raises(archive.ArtifactError, match=f"{name} is not the file"):
        compiled.CompiledClassifier(folder, threads=1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"compiled": {}}, "names files", id="files that nothing describes"),
        pytest.param({"compiled": []}, "compiled must be an object", id="a list"),
        pytest.param({"compiled": {"precision": "int4"}}, "'int4', expected one of", id="int4"),
    ],
)
def test_a_description_that_does_not_fit_its_engine_is_refused(model, tmp_path, values, message):
    folder = changed(model, tmp_path / "model", **values)

    with pytest.raises(archive.ArtifactError, match=message):
        archive.read_description(folder)


def test_publishing_a_model_without_an_engine_takes_the_old_one_away(model, tmp_path):
    folder = changed(model, tmp_path / "model")

    make.artifact(folder)

    assert not (folder / archive.ENGINE).exists()
    assert not archive.read_description(folder).compiled
    with pytest.raises(archive.ArtifactError, match="no compiled engine"):
        compiled.CompiledClassifier(folder, threads=1)
