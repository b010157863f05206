"""Heat: what is asked, how it is found, and how it is drawn."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from artifact import archive, compiled, network, reference
from artifact.inference import Classifier
from artifact.preprocess import Preprocessing
from serve import accept
from serve.heat import asked, occlusion, overlay, tail
from serve.heat.explain import explain
from serve.heat.grid import ACTIVATION, OCCLUSION, scaled
from serve.heat.torch import TorchMaps
from serve.refusal import AcceptError, PayloadError
from train.compiled import convert

LABELS = ["ants", "golden retriever", "bees, wild"]
SIDE = 64
RULES = Preprocessing.for_size(SIDE)


@pytest.mark.parametrize(
    ("query", "attributes", "label"),
    [
        pytest.param({}, "top_k=3", None, id="nothing asked"),
        pytest.param({"explain": "heatmap"}, "", -1, id="query"),
        pytest.param({}, "a=b, explain=heatmap", -1, id="attributes"),
        pytest.param({}, "explain=heatmap;explain_label=ants", 0, id="label"),
        pytest.param({}, 'explain_label="bees, wild" explain=heatmap', 2, id="quoted"),
        pytest.param(
            {"explain": "heatmap", "explain_label": "golden retriever"}, "", 1, id="label in query"
        ),
    ],
)
def test_what_is_explained_is_read_from_the_query_or_the_attributes(query, attributes, label):
    found = asked.read(query, attributes, LABELS, accept.JSON)

    assert (None if found is None else found.label) == label


@pytest.mark.parametrize(
    ("attributes", "wanted", "kind", "message"),
    [
        pytest.param("explain=shap", accept.JSON, PayloadError, "expected heatmap", id="method"),
        pytest.param(
            "explain=heatmap explain_label=cats", accept.JSON, PayloadError, "ants", id="label"
        ),
        pytest.param("explain=heatmap", accept.CSV, AcceptError, "image/png", id="no room"),
    ],
)
def test_what_cannot_be_explained_is_refused_with_what_can(attributes, wanted, kind, message):
    with pytest.raises(kind, match=message):
        asked.read({}, attributes, LABELS, wanted)


def folder_of(path, name, hidden_units=(), flip=False):
    """An artifact without what is not read here."""
    torch.manual_seed(0)
    made = network.build(name, len(LABELS), hidden_units, SIDE).eval()
    with torch.no_grad():  # deep random networks answer with hardly anything else than their bias
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.mul_(1.5)
    save_file(made.state_dict(), path / archive.WEIGHTS)
    (path / archive.REFERENCE).write_bytes(reference.png())
    described = archive.Description(
        network=name,
        labels=LABELS,
        preprocessing=RULES,
        hidden_units=list(hidden_units),
        test_time_flip=flip,
    )
    described.files = archive.describe_files(path)
    archive.write_description(path, described)
    return path


def noise(count=2):
    shape = (count, SIDE, SIDE, 3)
    return np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "hidden_units"),
    [
        pytest.param("small_cnn", (), id="mean and one layer"),
        pytest.param("resnet18", (16,), id="a hidden layer with ReLU"),
        pytest.param("mobilenet_v3_small", (), id="a hidden layer with hard swish"),
        pytest.param("shufflenet_v2_x0_5", (), id="mean by axes"),
        pytest.param("squeezenet1_1", (), id="a map of labels"),
        pytest.param("alexnet", (), id="flattened"),
    ],
)
def test_maps_of_the_compiled_graph_are_the_gradients_of_torch(tmp_path, name, hidden_units):
    classifier = Classifier(folder_of(tmp_path, name, hidden_units))
    labels = np.array([1, -1], np.int32)
    images = noise()

    theirs = TorchMaps(classifier).classify(images, labels)
    graph = compiled.Graph(
        tail.with_maps(convert.convert(classifier)), classifier.description, threads=1
    )
    both = graph.classify(images)

    maps = both[:, 3:].reshape(2, 3, -1)
    ours = [maps[0, 1], maps[1, both[1, :3].argmax()]]
    assert theirs is not None
    assert np.allclose(both[:, :3], theirs[:, :3], atol=1e-3)
    for mine, gradient in zip(ours, theirs[:, 3:], strict=True):
        assert mine.size == gradient.size > 1
        # in torch a mean's slope is of one place, here of all: in proportion they are the same
        assert np.corrcoef(mine, gradient)[0, 1] > 0.999
        assert np.allclose(scaled(mine), scaled(gradient), atol=0.01)


def test_a_network_with_an_unknown_end_has_no_maps_in_the_graph_and_has_them_in_torch(tmp_path):
    classifier = Classifier(folder_of(tmp_path, "small_cnn", flip=True))

    assert tail.with_maps(convert.convert(classifier)) is None
    rows = TorchMaps(classifier).classify(noise(), np.array([-1, -1], np.int32))
    assert rows.shape == (2, 3 + 4 * 4)


def patched(row, column):
    """Grey, with a red square in one of 7 x 7 places."""
    image = np.full((70, 70, 3), 120, np.uint8)
    image[10 * row : 10 * row + 10, 10 * column : 10 * column + 10] = (255, 0, 0)
    return image


def redness(images):
    share = np.stack([(each[..., 0] > 200).mean() for each in images])
    probability = 0.02 + 0.9 * np.minimum(1, share * 49)
    return np.stack([1 - probability, probability], 1).astype(np.float32)


@pytest.mark.parametrize("place", [(0, 0), (3, 4), (6, 2)], ids=str)
def test_occlusion_finds_the_place_that_the_label_depends_on(place):
    image = patched(*place)

    heat = occlusion.heat(image, redness([image])[0], 1, redness)

    assert heat.shape == (7, 7)
    assert heat[place] == heat.max() == 1
    assert heat.sum() < 6  # its neighbours share windows with it, nothing else does


def test_an_engine_without_maps_is_explained_by_occlusion_and_one_with_them_is_asked_once():
    calls = []

    def without(images, label):
        calls.append(len(images))
        return list(redness(images))

    def with_maps(images, label):
        rows = redness(images)
        return [np.concatenate([row, np.arange(9, dtype=np.float32)]) for row in rows]

    ((row, heat),) = explain([patched(1, 1)], 2, asked.Asked(1), without)
    ((_, quick),) = explain([patched(1, 1)], 2, asked.Asked(), with_maps)

    assert (heat.method, heat.label, heat.grid[1, 1]) == (OCCLUSION, 1, 1)
    assert sum(calls) == 1 + 64
    assert row.shape == (2,)
    assert (quick.method, quick.label, quick.grid.shape) == (ACTIVATION, 1, (3, 3))
    assert quick.grid[2, 2] == 1
    assert quick.seconds > 0


def test_covered_photos_come_no_more_at_a_time_than_may_wait():
    calls = []

    def classify(images, label):
        calls.append(len(images))
        return list(redness(images))

    explain([patched(1, 1)], 2, asked.Asked(1), classify, 10)

    assert max(calls) == 10
    assert sum(calls) == 1 + 64


def test_what_speaks_against_a_label_is_no_heat_and_nothing_stays_nothing():
    assert scaled(np.array([[-4.0, 2.0, 1.0]], np.float32)).tolist() == [[0, 1, 0.5]]
    assert scaled(np.array([[-4.0, 0.0]], np.float32)).tolist() == [[0, 0]]


def test_an_overlay_is_red_where_it_is_hot_and_shows_the_photo_below():
    grid = np.zeros((7, 7), np.float32)
    grid[1, 5] = 1
    photo = np.full((SIDE, SIDE, 3), 200, np.uint8)
    photo[:, : SIDE // 2] = 40

    drawn = overlay.over(photo, grid, RULES)
    planes = (photo / 255 - RULES.mean) / RULES.std
    same = overlay.over(planes.transpose(2, 0, 1).astype(np.float32), grid, RULES)
    png = Image.open(io.BytesIO(overlay.png([drawn, overlay.blank(RULES)])))

    hot = drawn[SIDE * 3 // 14, SIDE * 11 // 14].astype(int)
    cold = drawn[SIDE - 4, SIDE - 4].astype(int)
    assert hot[0] > hot[2] + 60
    assert cold[2] > cold[0]
    assert drawn[SIDE - 4, 4].sum() < cold.sum() - 100
    assert np.abs(same.astype(int) - drawn).max() <= 1
    assert (png.format, png.size) == ("PNG", (SIDE, 2 * SIDE))
