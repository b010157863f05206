"""What becomes the engine: int8, int8 but for the layers that it hurts, or floats."""

import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from artifact import archive, network
from artifact.inference import Classifier
from tests import make
from tests.make import IMAGE_SIZE
from train import device
from train.compiled.candidates import BY_ACCURACY
from train.compiled.order import UNKNOWN, Order, Photos

pytestmark = pytest.mark.filterwarnings("ignore")  # nncf's and torch's own

COUNT = 96


def pictures(count, seed):
    """Of colours that lie close together, in three classes by which channel is the brightest."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, 3, count)
    pixels = random.normal(120, 30, (count, IMAGE_SIZE, IMAGE_SIZE, 3))
    pixels[np.arange(count), :, :, targets] += 12
    return np.clip(pixels, 0, 255).astype(np.uint8), targets


@pytest.fixture(scope="module")
def photos():
    learned, _ = pictures(16, 1)
    judged, targets = pictures(COUNT, 2)
    return Photos(learned, judged, targets, np.full(COUNT, UNKNOWN, np.int8))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """`small_cnn` with a head that was fitted to the pictures: nearly all right in floats."""
    folder = make.artifact(tmp_path_factory.mktemp("fitted") / "model")
    fit(folder)
    return folder


def fit(folder):
    pixels, targets = pictures(400, 3)
    weights = load_file(folder / archive.WEIGHTS)
    made = network.build(network.SMALL_CNN, 3, (), IMAGE_SIZE).eval()
    network.load(made, weights)
    described = archive.read_description(folder).preprocessing
    with torch.no_grad():
        images = network.normalise(torch.from_numpy(pixels), described.mean, described.std)
        features = torch.nn.Sequential(*list(made)[:-1])(images)
        known = torch.cat([features, torch.ones(len(features), 1)], 1)
        wanted = torch.nn.functional.one_hot(torch.from_numpy(targets), 3).float()
        solved = torch.linalg.lstsq(
            known.T @ known + 1e-4 * torch.eye(known.shape[1]), known.T @ wanted
        ).solution
    weights["18.weight"], weights["18.bias"] = 20 * solved[:-1].T.contiguous(), 20 * solved[-1]
    rewrite(folder, weights)


def rewrite(folder, weights):
    save_file(weights, folder / archive.WEIGHTS)
    described = archive.read_description(folder)
    described.files = archive.describe_files(folder)
    archive.write_description(folder, described)
    described.reference_probabilities = Classifier(folder).reference().tolist()
    archive.write_description(folder, described)


def choose(folder, photos, said, budget_seconds=60.0):
    return make.choose(Order(str(folder), 0.5, 1, budget_seconds), photos, said.append)


def test_a_network_that_int8_serves_as_well_gets_it(model, photos):
    said = []
    graph, made = choose(model, photos, said)

    assert graph is not None
    assert made.precision == "int8"
    assert made.images == COUNT
    assert made.calibration_images == 16
    assert made.accuracies["float32"] > 0.9
    assert made.accuracies["int8"] >= made.accuracies["float32"] - 0.04
    assert "no more than by chance" in made.decision
    assert list(made.tried) == ["int8"]
    assert any(line.startswith("int8: top-1") and "kept" in line for line in said)


@pytest.fixture(scope="module")
def hurt(model, tmp_path_factory):
    """The same network, but for one channel whose numbers are ten thousand times the others': in
    int8 they share a scale, and nothing is left of the others."""
    folder = make.artifact(tmp_path_factory.mktemp("hurt") / "model")
    weights = load_file(model / archive.WEIGHTS)
    for name in ("1.weight", "1.bias"):  # a normalisation; what is 0 or above stays so, scaled
        weights[name][0] *= 1e4
    weights["4.weight"][:, 0] /= 1e4
    rewrite(folder, weights)
    return folder


def test_floats_answer_the_hurt_network_as_before(model, hurt, photos):
    assert Classifier(hurt).classify(photos.judged) == pytest.approx(
        Classifier(model).classify(photos.judged), abs=1e-3
    )


def test_the_layer_that_int8_hurts_stays_in_floats(hurt, photos):
    said = []
    graph, made = choose(hurt, photos, said)

    assert graph is not None
    assert made.precision == "int8", said
    assert list(made.tried) == ["int8", BY_ACCURACY]
    assert "too many for chance" in made.tried["int8"]
    assert made.accuracies["int8"] < made.accuracies["float32"] - 0.1
    assert made.accuracies[BY_ACCURACY] >= made.accuracies["float32"] - 0.04
    assert made.decision.startswith(BY_ACCURACY)


def test_without_time_for_that_it_is_served_in_floats(hurt, photos):
    said = []
    started = time.monotonic()
    graph, made = choose(hurt, photos, said, budget_seconds=0)

    assert graph is not None
    assert made.precision in ("bfloat16", "float32")
    assert made.precision == "float32" or device.bfloat16_pays(torch.device("cpu"))
    assert made.decision.startswith("int8 is refused: ")
    assert "not found in the time" in made.tried[BY_ACCURACY]
    assert "bfloat16" in made.tried
    assert time.monotonic() - started < 300
