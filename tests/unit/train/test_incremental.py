"""An earlier model goes on: rows follow their classes, and an archive is never trusted."""

import io
import os
import tarfile

import pytest
import torch
from safetensors.torch import load_file

from artifact import archive, network
from artifact.preprocess import Preprocessing
from container.failure import ChannelError, ModelError, PretrainedError
from container.opt_ml import Channel
from tests import make
from train import incremental
from train.hyperparameters import Hyperparameters

CHOSEN = Hyperparameters(network="small_cnn", image_size=32)
OLD = ["ant", "bee", "cat"]


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    return make.artifact(tmp_path_factory.mktemp("earlier") / "model", OLD)


def built(classes, name="small_cnn", hidden=(), size=32, seed=1):
    torch.manual_seed(seed)
    return network.build(name, classes, hidden, size).eval()


def go_on(folder, labels, chosen=CHOSEN):
    made = built(len(labels))
    said: list[str] = []
    incremental.load(
        made, chosen, Preprocessing.for_size(chosen.image_size), folder, labels, said.append
    )
    return made, said


def pack(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                tar.addfile(info)
    return path.parent


def files(folder, prefix=""):
    return [(prefix + path.name, path.read_bytes()) for path in sorted(folder.iterdir())]


def answers(made, size):
    """Logits, and what the last layer was given."""
    last = [module for module in made.modules()
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)][-1]  # fmt: skip
    given: list[torch.Tensor] = []
    last.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    with torch.no_grad():
        logits = made(torch.randn(5, 3, size, size, generator=torch.Generator().manual_seed(3)))
    return logits, given[0]


@pytest.mark.parametrize(
    ("name", "hidden", "size"),
    [
        ("small_cnn", (), 32),
        ("small_cnn", (16, 8), 32),
        ("squeezenet1_1", (), 64),
        ("squeezenet1_1", (12,), 64),
        ("mobilenet_v3_small", (), 64),
    ],
)
def test_logits_of_old_classes_are_what_they_were(name, hidden, size):
    before, now = built(3, name, hidden, size, seed=1), built(4, name, hidden, size, seed=2)
    labels = ["bee", "cow", "ant", "dog"]

    incremental.remap(now, before.state_dict(), OLD, labels)

    theirs, their_features = answers(before, size)
    ours, our_features = answers(now, size)
    assert torch.equal(our_features, their_features)
    # a matrix product of another width adds in another order: the last bit may differ
    assert torch.allclose(ours[:, [2, 0]], theirs[:, [0, 1]], rtol=1e-5, atol=1e-6)
    weight = [key for key in now.state_dict() if key.startswith(network.head_path(now))][-2]
    assert torch.equal(now.state_dict()[weight][[2, 0]], before.state_dict()[weight][[0, 1]])


NAMES = [f"class-{number}" for number in range(10)]
NEW = ["a-new", *NAMES[:5], "b-new", *NAMES[5:], "c-new"]


def photos(labels, per_class, seed):
    """Dense features around a centre per class, as a backbone's are, and the class of each."""
    generator = torch.Generator().manual_seed(7)
    centres = torch.randn(len(NEW), 128, generator=generator)
    generator.manual_seed(seed)
    of = [label for label in labels for _ in range(per_class)]
    features = centres[[sorted(NEW).index(label) for label in of]] * 0.6 + 0.4
    return (features + torch.randn(features.shape, generator=generator) * 0.9).relu(), of


def learn(made, labels, features, of, epochs, several):
    head = network.head(made)
    rule = torch.optim.AdamW(head.parameters(), 1e-3)
    goals = torch.nn.functional.one_hot(torch.tensor([labels.index(label) for label in of])).float()
    criterion = torch.nn.BCEWithLogitsLoss() if several else torch.nn.CrossEntropyLoss()
    for _ in range(epochs):
        for rows in torch.randperm(len(features)).split(32):
            rule.zero_grad()
            criterion(head(features[rows]), goals[rows]).backward()
            rule.step()


def best(made, labels, features):
    with torch.no_grad():
        return [labels[at] for at in network.head(made)(features).argmax(1)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("hidden", [(), (64,)], ids=["linear", "deeper"])
@pytest.mark.parametrize("several", [False, True], ids=["one label", "several labels"])
def test_photos_are_answered_as_before_until_a_new_class_is_learned(hidden, several, seed):
    before, now = built(10, hidden=hidden, seed=seed), built(13, hidden=hidden, seed=seed + 9)
    learn(before, NAMES, *photos(NAMES, 40, seed=1), 10, several)
    anything, of = photos(NEW, 20, seed=2)

    incremental.remap(now, before.state_dict(), NAMES, NEW)

    assert best(now, NEW, anything) == best(before, NAMES, anything)
    learn(now, NEW, *photos(NEW, 40, seed=3), 10, several)
    right = [label for label, answer in zip(of, best(now, NEW, anything), strict=True)
             if label == answer]  # fmt: skip
    assert all(right.count(label) >= 17 for label in NEW)


@pytest.mark.parametrize("known", [["ant"], ["cat", "bee"]], ids=["one", "two"])
def test_new_classes_beside_few_known_ones_begin_below_them(known):
    before, now = built(3, seed=1), built(len(known) + 4, seed=2)
    labels = ["a", "b", *known, "x", "y"]
    photos = torch.randn(50, 128).relu()

    incremental.remap(now, before.state_dict(), OLD, labels)

    assert set(best(now, labels, photos)) <= set(known)


@pytest.mark.parametrize("form", ["folder", "nested folder", "model.tar.gz", "nested.tgz", "m.tar"])
def test_a_model_comes_unpacked_or_packed(tmp_path, earlier, form):
    channel = tmp_path / "model"
    channel.mkdir()
    if "folder" in form:
        place = channel / "inner" if "nested" in form else channel
        place.mkdir(exist_ok=True)
        for name, content in files(earlier):
            (place / name).write_bytes(content)
    else:
        members = [*files(earlier, "job/" if "nested" in form else "./"), ("notes.txt", b"x")]
        pack(channel / form, members, "w" if form == "m.tar" else "w:gz")

    made, said = go_on(channel, OLD)

    weights = load_file(earlier / archive.WEIGHTS)
    assert all(torch.equal(value, weights[key]) for key, value in made.state_dict().items())
    assert said == ["model channel: 3 of 3 classes go on"]


def test_new_and_missing_classes_are_named(earlier):
    _, said = go_on(earlier, ["ant", "cat", "dog", "emu"])

    assert said == [
        "model channel: 2 of 3 classes go on; 2 new: dog, emu; "
        "1 without photos, so no longer in the model: bee"
    ]


def test_a_model_of_another_kind_is_refused_with_every_difference(earlier):
    chosen = Hyperparameters(network="small_cnn", image_size=64, hidden_units=[16])

    with pytest.raises(PretrainedError) as caught:
        go_on(earlier, OLD, chosen)

    assert "hidden_units is [], the job's [16]" in caught.value.cause
    assert "image_size is 32, the job's 64" in caught.value.cause
    assert caught.value.fix == "set hidden_units=[], image_size=32"


def replaced(earlier, name, content):
    return [(each, content if each == name else data) for each, data in files(earlier)]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param(lambda a: [("readme", b"x")], "model.json, reference.png, weights",
                     id="nothing of ours"),
        pytest.param(lambda a: files(a)[:-1], "weights.safetensors missing", id="no weights"),
        pytest.param(lambda a: replaced(a, "weights.safetensors", (tarfile.SYMTYPE, "/etc/passwd")),
                     "weights.safetensors is a link", id="symbolic link"),
        pytest.param(lambda a: replaced(a, "weights.safetensors", (tarfile.LNKTYPE, "model.json")),
                     "weights.safetensors is a link", id="hard link"),
        pytest.param(lambda a: [*files(a), *files(a)], "there twice", id="twice"),
        pytest.param(lambda a: files(a)[:1] + files(a, "b/")[1:], "several models", id="mixture"),
        pytest.param(lambda a: replaced(a, "weights.safetensors", b"noise"), "5 bytes",
                     id="other weights"),
        pytest.param(lambda a: replaced(a, "model.json", b"{"), "model.json is damaged",
                     id="no description"),
    ],
)  # fmt: skip
def test_an_archive_that_holds_no_model_is_refused(tmp_path, earlier, members, message):
    channel = pack(tmp_path / "model.tar.gz", members(earlier))

    with pytest.raises(ModelError) as caught:
        go_on(channel, OLD)

    assert message in caught.value.cause
    assert "model.tar.gz of a job of this image" in caught.value.fix


def test_nothing_is_written_outside_whatever_an_archive_says(tmp_path, earlier):
    channel = tmp_path / "in" / "model"
    channel.mkdir(parents=True)
    evil = [("../../evil", b"x"), ("/tmp/evil-model", b"x"), ("link", (tarfile.SYMTYPE, "/"))]
    pack(channel / "model.tar.gz", [*evil, *files(earlier)])

    go_on(channel, OLD)

    assert not list(tmp_path.rglob("evil*"))
    assert not os.path.exists("/tmp/evil-model")


def test_an_archive_that_unpacks_to_more_than_its_bound_is_refused(tmp_path, earlier, monkeypatch):
    channel = pack(tmp_path / "model.tar.gz", [("zeros", bytes(1 << 20)), *files(earlier)])
    monkeypatch.setattr(incremental, "MOST_ARCHIVE_BYTES", 1 << 19)

    with pytest.raises(ModelError, match="more than 10000 files or 0 GiB"):
        go_on(channel, OLD)


@pytest.mark.parametrize("damage", [b"", b"not gzip", "cut"])
def test_a_damaged_archive_is_refused(tmp_path, earlier, damage):
    channel = pack(tmp_path / "model.tar.gz", files(earlier))
    packed = tmp_path / "model.tar.gz"
    packed.write_bytes(packed.read_bytes()[:5000] if damage == "cut" else damage)

    with pytest.raises(ModelError, match="cannot be unpacked"):
        go_on(channel, OLD)


def test_another_model_is_another_run(tmp_path, earlier):
    first = pack(tmp_path / "model.tar.gz", files(earlier))
    one = incremental.identity({"model": first})
    pack(tmp_path / "model.tar.gz", [*files(earlier), ("more", b"x")])

    assert incremental.identity({}) == {}
    assert one != incremental.identity({"model": first})
    assert incremental.identity({"model": earlier}) == incremental.identity({"model": earlier})


def test_two_sources_of_weights_are_refused(tmp_path):
    with pytest.raises(ChannelError, match="model and pretrained both"):
        incremental.check({"model": Channel(tmp_path), "pretrained": Channel(tmp_path)})


@pytest.mark.parametrize("name", ["model", "pretrained"])
def test_weights_in_a_pipe_are_refused_and_not_left_aside(tmp_path, name):
    with pytest.raises(ChannelError, match=f"{name}: weights do not come through a pipe"):
        incremental.check({name: Channel(tmp_path, mode="Pipe"), "train": Channel(tmp_path)})


def test_a_name_that_would_fill_the_memory_is_refused_unread(tmp_path):
    pack(tmp_path / "model.tar.gz", [("n" * (1 << 20), b"")])

    with pytest.raises(ModelError, match="a name or attributes of 10485.. bytes"):
        go_on(tmp_path, OLD)
