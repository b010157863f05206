"""Whole jobs on unlucky data: odd names, single photos, folders that are no classes."""

import json
import os

import pytest

from artifact.inference import Classifier
from tests.tree import Tree


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "ml")


def test_names_of_any_bytes_go_through_the_whole_job(tree):
    names = ["US$_$x", "犬", "two\nlines", "عربي", os.fsdecode(b"caf\xe9")]
    colours = [(220, 50, 40), (40, 60, 220), (40, 200, 60), (200, 200, 40), (40, 200, 200)]
    folder = tree.channel("train", 4, dict(zip(names, colours, strict=True)))
    (folder / names[0] / os.fsdecode(b"bad\xe9\nepoch=1.jpg")).write_bytes(b"no photo")

    done = tree.train({"LANG": "en_US.UTF-8", "PYTHONIOENCODING": "utf-8:strict"}, epochs="1")

    assert done.returncode == 0, done.stderr
    assert r"bad file train/US$_$x/bad\udce9\nepoch=1.jpg: " in done.stdout
    labels = [r"US$_$x", r"caf\udce9", r"two\nlines", "عربي", "犬"]
    assert tree.description["labels"] == labels
    assert json.loads(tree.output("evaluation.json").read_text("utf-8"))["labels"] == labels
    assert tree.output("confusion_matrix.png").stat().st_size
    assert tree.output("samples.png").stat().st_size
    assert Classifier(tree.root / "model").description.labels == labels


def test_a_class_of_one_photo_trains_where_the_validation_is_held_out(tree):
    folder = tree.channel("train", 6)
    for path in sorted((folder / "red").iterdir())[1:]:
        path.unlink()

    done = tree.train(epochs="1")

    assert done.returncode == 0, done.stderr
    assert "red: 1 train, 0 validation" in done.stdout


def test_two_photos_are_too_few_to_hold_one_out_and_the_reason_says_so(tree):
    tree.channel("train", 1, {"red": (220, 50, 40), "blue": (40, 60, 220)})

    done = tree.train(epochs="1")

    assert done.returncode == 1
    assert tree.failure.startswith("data: no usable photos for validation; fix: add photos")


def test_a_model_folder_that_cannot_be_written_is_known_before_training(tree):
    tree.channel("train", 4)
    (tree.root / "model").write_text("a file")

    done = tree.train(epochs="1")

    assert done.returncode == 1
    assert "photos: " not in done.stdout


def test_what_a_killed_job_left_in_the_model_folder_is_not_uploaded(tree):
    tree.channel("train", 4)
    (tree.root / "model" / ".partial-old").mkdir(parents=True)
    (tree.root / "model" / ".partial-old" / "weights.safetensors").write_bytes(b"half")

    done = tree.train(epochs="1")

    assert done.returncode == 0, done.stderr
    assert not list((tree.root / "model").glob(".*"))
