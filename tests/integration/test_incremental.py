"""A second job goes on from the first one's model, with one class more and one less."""

import tarfile

import pytest
import torch
from safetensors.torch import load_file

from tests.tree import COLOURS, Tree

HELD_STILL = {"epochs": "1", "learning_rate": "1e-12", "weight_decay": "0"}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    tree = Tree(tmp_path_factory.mktemp("first"))
    tree.channel("train", 16)
    tree.channel("validation", 6)
    assert tree.train(epochs="3").returncode == 0
    return tree


def packed(tree, model):
    channel = tree.root / "input" / "data" / "model"
    channel.mkdir(parents=True)
    with tarfile.open(channel / "model.tar.gz", "w:gz") as tar:
        tar.add(model, ".")


@pytest.mark.parametrize("fine_tune", ["head", "all"])
def test_known_classes_keep_their_rows_by_name(tmp_path, first, fine_tune):
    tree = Tree(tmp_path / "ml")
    packed(tree, first.root / "model")
    classes = {"amber": (230, 180, 30), "green": COLOURS["green"], "red": COLOURS["red"]}
    tree.channel("train", 12, classes)
    tree.channel("validation", 6, classes)

    done = tree.train(pretrained="true", fine_tune=fine_tune, **HELD_STILL)

    assert done.returncode == 0, done.stderr
    assert (
        "model channel: 2 of 3 classes go on; 1 new: amber; "
        "1 without photos, so no longer in the model: blue"
    ) in done.stdout
    assert "random and frozen" not in done.stdout
    before, after = (load_file(t.root / "model" / "weights.safetensors") for t in (first, tree))
    (last,) = (name for name, value in before.items() if value.ndim == 2)
    rows = [first.description["labels"].index(name) for name in ("green", "red")]
    assert torch.allclose(after[last][1:], before[last][rows], atol=1e-6)
    assert torch.allclose(after["0.weight"], before["0.weight"], atol=1e-6)


def test_a_new_class_is_learned_and_known_ones_are_kept(tmp_path, first):
    tree = Tree(tmp_path / "ml")
    packed(tree, first.root / "model")
    classes = {"amber": (230, 180, 30), **COLOURS}
    tree.channel("train", 16, classes)
    tree.channel("validation", 6, classes)

    done = tree.train(pretrained="true", epochs="3", learning_rate="0.003")

    assert done.returncode == 0, done.stderr
    assert "model channel: 3 of 3 classes go on; 1 new: amber" in done.stdout
    assert tree.description["metrics"]["validation"]["top1_accuracy"] > 0.9


def test_a_model_of_another_network_is_refused_with_what_to_set(tmp_path, first):
    tree = Tree(tmp_path / "ml")
    packed(tree, first.root / "model")
    tree.channel("train", 6)

    done = tree.train(network="resnet18")

    assert done.returncode == 1
    assert tree.failure.startswith(
        "pretrained: the model channel's model is of another kind: network is small_cnn, "
        "the job's resnet18; fix: set network=small_cnn"
    )
