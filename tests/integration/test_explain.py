"""Explanations by the real server: heat of a network that was really trained, and an explainer that
asks it as the platform's does."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from artifact import archive, network
from artifact.preprocess import Preprocessing
from tests import make, serving
from train import export
from train.compiled.candidates import save
from train.compiled.order import UNKNOWN, Order, Photos

SIDE, PATCH = 64, 20
CELLS = 4
"""Of the network's last map, a side."""
LABELS = ["blue square", "green", "red"]
COLOURS = {"blue square": (40, 60, 220), "green": (40, 200, 60), "red": (220, 50, 40)}
STEPS, BATCH = 60, 16
HEAT = "explain=heatmap"


def scene(random: np.random.Generator, label: str) -> tuple[np.ndarray, tuple[int, int]]:
    """H x W x 3 of grey noise with a patch in the label's colour, and the patch's corner."""
    image = np.repeat(random.integers(60, 190, (SIDE, SIDE, 1)), 3, axis=2)
    row, column = (int(each) for each in random.integers(0, SIDE - PATCH + 1, 2))
    image[row : row + PATCH, column : column + PATCH] = COLOURS[label]
    return image.astype(np.uint8), (row, column)


def png(image: np.ndarray) -> bytes:
    return make.encode(Image.fromarray(image), "PNG")


def train() -> torch.nn.Module:
    """A small network that has learned the colours from patches in all places."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # two would wait for each other beside other tests
    random = np.random.default_rng(0)
    model = network.build(network.SMALL_CNN, len(LABELS), (), SIDE)
    optimizer = torch.optim.Adam(model.parameters(), 0.003)
    rules = Preprocessing.for_size(SIDE)
    for _ in range(STEPS):
        targets = random.integers(0, len(LABELS), BATCH)
        pixels = np.stack([scene(random, LABELS[target])[0] for target in targets])
        images = network.normalise(torch.from_numpy(pixels), rules.mean, rules.std)
        loss = torch.nn.functional.cross_entropy(model(images), torch.from_numpy(targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2
    return model.eval()


def compile_engine(folder):
    """In int8, as a training job does it."""
    random = np.random.default_rng(1)
    targets = random.integers(0, len(LABELS), 32)
    seen = np.stack([scene(random, LABELS[target])[0] for target in targets])
    order = Order(str(folder), tolerance=50, threads=1, budget_seconds=60)
    unknown = np.full(len(seen), UNKNOWN, np.int8)
    graph, made = make.choose(order, Photos(seen, seen, targets, unknown))
    save(graph, folder)
    return made.as_dict()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A base folder with the trained network: `model` with a compiled engine, `plain/model`
    without."""
    folder = tmp_path_factory.mktemp("explain")
    described = {"network": network.SMALL_CNN, "labels": LABELS}
    rules = Preprocessing.for_size(SIDE)
    trained = train()
    for where, engine in ((folder, compile_engine), (folder / "plain", lambda _: {})):
        description = archive.Description(**described, preprocessing=rules)
        export.export(trained, description, where / "model", engine)
    return folder


@pytest.fixture(scope="module")
def server(base):
    with serving.running(base, base / "log", PRECISION="auto") as ready:
        yield ready


@pytest.fixture(scope="module")
def scenes():
    random = np.random.default_rng(7)
    return [(LABELS[number % 3], *scene(random, LABELS[number % 3])) for number in range(12)]


def asked(server, scenes, attributes=HEAT):
    instances = [base64.b64encode(png(image)).decode() for _, image, _ in scenes]
    body = json.dumps({"instances": instances}).encode()
    header = {"X_Amzn_SageMaker_Custom_Attributes": attributes}
    answer = server.invoke(body, "application/json", **header)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def covered(corner, cells):
    """Share of each cell of the grid that the patch lies in."""
    share = np.zeros((SIDE, SIDE))
    share[corner[0] : corner[0] + PATCH, corner[1] : corner[1] + PATCH] = 1
    size = SIDE // cells
    return share.reshape(cells, size, cells, size).mean(axis=(1, 3))


def test_the_heat_lies_on_what_the_label_depends_on(server, scenes):
    predictions = asked(server, scenes)

    hits = 0
    for (label, _, corner), prediction in zip(scenes, predictions, strict=True):
        assert prediction["label"] == prediction["explanation"]["label"] == label
        assert prediction["explanation"]["method"] == "class activation map"
        assert prediction["explanation"]["milliseconds"] > 0
        grid, share = np.array(prediction["heatmap"]), covered(corner, CELLS)
        assert grid.shape == (CELLS, CELLS)
        assert (grid.min() >= 0, grid.max()) == (True, 1)
        hits += share[np.unravel_index(grid.argmax(), grid.shape)] > 0
        # a patch covers a tenth of the photo, and touches at most a quarter of the cells
        assert grid[share > 0].sum() > 0.5 * grid.sum()
    assert hits == len(scenes)


def test_another_label_than_the_first_may_be_explained(server, scenes):
    mixed = scenes[0][1].copy()  # its own patch is elsewhere
    mixed[-PATCH:, -PATCH:] = COLOURS["red"]
    row, column = scenes[0][2]
    own = np.s_[row : row + PATCH, column : column + PATCH]
    mixed[own] = COLOURS["blue square"]

    both = [
        asked(server, [("", mixed, None)], f"{HEAT}, explain_label={name}")[0]
        for name in ('"blue square"', "red")
    ]

    assert [each["explanation"]["index"] for each in both] == [0, 2]
    first, second = (np.array(each["heatmap"]) for each in both)
    assert second[-1, -1] > 0.5
    assert first[-1, -1] < second[-1, -1]


def test_torch_and_the_compiled_engine_see_the_same_places(base, server, scenes):
    with serving.running(base / "plain", base / "plain.log", PRECISION="float32") as plain:
        theirs = asked(plain, scenes)

    for mine, other in zip(asked(server, scenes), theirs, strict=True):
        one, two = np.array(mine["heatmap"]), np.array(other["heatmap"])
        assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.9


def test_an_overlay_is_a_picture_of_each_photo_and_grey_where_one_failed(server, scenes):
    bodies = [base64.b64encode(png(scenes[0][1])).decode(), "", base64.b64encode(b"no").decode()]
    body = "\n".join(json.dumps(each) for each in [bodies[0], bodies[2], bodies[0]]).encode()

    single = server.invoke(png(scenes[0][1]), "image/png", "image/png", query=f"?{HEAT}")
    several = server.invoke(body, "application/jsonlines", "image/png", query=f"?{HEAT}")

    assert single.headers["Content-Type"] == several.headers["Content-Type"] == "image/png"
    one, three = (Image.open(io.BytesIO(each.content)) for each in (single, several))
    assert (one.size, three.size) == ((SIDE, SIDE), (SIDE, 3 * SIDE))
    drawn = np.asarray(three)
    assert (drawn[:SIDE] == drawn[2 * SIDE :]).all()
    assert (drawn[SIDE : 2 * SIDE] == 128).all()
    assert (drawn[:SIDE] == np.asarray(one)).all()


@pytest.mark.parametrize(
    ("accept", "query", "status", "message"),
    [
        pytest.param("image/png", "", 406, "application/json", id="a picture of nothing"),
        pytest.param("text/csv", f"?{HEAT}", 406, "image/png", id="no room"),
        pytest.param(None, "?explain=shap", 400, "expected heatmap", id="another method"),
        pytest.param(None, f"?{HEAT}&explain_label=cat", 400, "blue square", id="no such label"),
    ],
)
def test_what_cannot_be_explained_is_refused(server, scenes, accept, query, status, message):
    answer = server.invoke(png(scenes[0][1]), "image/png", accept, query=query)

    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_a_request_that_asks_for_no_heat_gets_none(server, scenes):
    answer = server.invoke(png(scenes[0][1]), "image/png").json()

    assert answer["predictions"][0].keys() == {"label", "index", "probability", "top_k"}


def as_jpeg(image):
    return make.encode(Image.fromarray(image), "JPEG", quality=95)


# what the platform's explainer sends and takes: a photo a request, all probabilities in label order
PLATFORM = [
    pytest.param("image/jpeg", as_jpeg, "application/json", "answer=probabilities", id="jpeg"),
    pytest.param("image/png", png, "application/jsonlines", "", id="png, JSON lines"),
    pytest.param(
        "application/x-npy", make.npy, "application/json", "answer=probabilities", id="npy"
    ),
]


@pytest.mark.parametrize(("content_type", "encode", "accept", "attributes"), PLATFORM)
def test_kernel_shap_over_http_finds_what_the_label_depends_on(
    server, scenes, content_type, encode, accept, attributes
):
    """Shapley values of 4 x 4 segments, by weighted least squares over random coalitions."""
    label, image, corner = scenes[1]
    random = np.random.default_rng(0)
    size, segments = SIDE // CELLS, CELLS * CELLS
    coalitions = random.random((60, segments)) < random.random((60, 1))
    header = {"X_Amzn_SageMaker_Custom_Attributes": attributes} if attributes else {}

    def probabilities(kept):
        mask = np.kron(kept.reshape(CELLS, CELLS), np.ones((size, size)))[..., None] > 0
        body = encode(np.where(mask, image, 125).astype(np.uint8))
        answer = server.invoke(body, content_type, accept, **header)
        assert answer.status_code == 200, answer.text
        row = answer.json()
        return row if attributes else row["prediction"]

    rows = np.array([probabilities(kept) for kept in coalitions])
    design = np.column_stack([np.ones(len(coalitions)), coalitions])
    ridge = design.T @ design + 0.01 * np.eye(segments + 1)
    values = np.linalg.solve(ridge, design.T @ rows[:, LABELS.index(label)])[1:]

    assert rows.shape == (60, 3)
    assert np.allclose(rows.sum(1), 1, atol=1e-4)
    share = covered(corner, CELLS).ravel()
    assert share[values.argmax()] > 0
    assert values[share > 0].mean() > values[share == 0].mean() + 0.05


def test_several_photos_without_names_are_lists_in_their_order(server, scenes):
    instances = [base64.b64encode(png(image)).decode() for _, image, _ in scenes[:2]]
    body = json.dumps({"instances": [*instances, "bm8="]}).encode()

    answer = server.invoke(body, "application/json", query="?answer=probabilities")

    first, second, failed = answer.json()
    assert len(first) == len(second) == 3
    assert failed is None
