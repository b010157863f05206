"""The same photos in every format: the same run. Real pipes, real archives, real records."""

import json
import re

import pytest

from container.opt_ml import Job
from tests import packed
from tests.tree import TINY, Tree
from train import job as jobs
from train import photos
from train.distributed import ALONE
from train.gathered import Gathered
from train.interruption import Interruption
from train.training import Training

SPLITS = {"train": packed.photos(10), "validation": packed.photos(4, seed=5000)}
SPEED = re.compile(r" (images_per_second|data_wait_share)=\S+")


def trained(tree, name, capsys):
    """The lines of the log that tell of photos and metrics, without their speed."""
    packed.fill(tree, name, SPLITS)
    tree.config("hyperparameters.json", {**TINY, "augmentation": "crop"})
    job = Job.read(tree.root)
    chosen = jobs.read_hyperparameters(job)
    gathered = Gathered(ALONE, job)
    splits = photos.read_splits(job, chosen, gathered)
    training = Training(job, chosen, splits, Interruption(), gathered)
    training.fit()
    training.profiler.abandon()
    training.scalars.close()
    lines = capsys.readouterr().out.splitlines()
    return [
        SPEED.sub("", line) for line in lines if line.startswith(("epoch=", "photos:", "  blue:"))
    ]


@pytest.fixture(scope="module")
def expected():
    return []


@pytest.mark.parametrize("name", packed.FORMATS)
def test_the_same_photos_in_any_format_give_the_same_run(tmp_path, name, capsys, expected):
    lines = trained(Tree(tmp_path), name, capsys)

    if not expected:
        expected += trained(Tree(tmp_path / "folders"), "folders", capsys)
    assert len([line for line in lines if line.startswith("epoch=")]) == 2
    assert "photos: 30 train, 12 validation; 3 classes" in lines
    assert lines == expected


def test_a_whole_job_trains_from_pipes_and_names_a_bad_photo_by_its_place(tmp_path):
    tree = Tree(tmp_path)
    broken = packed.Photo("blue/bad.jpg", 0, b"no photo")
    packed.fill(tree, "piped manifest", {**SPLITS, "train": [*SPLITS["train"], broken]})

    done = tree.train(num_workers="1")

    assert done.returncode == 0, done.stderr
    assert tree.description["labels"] == packed.LABELS
    assert tree.description["training"]["train_images"] == 30
    named = r"bad file train/train\.rec/0000000030@\d+: 8 bytes that start with b'no photo'"
    assert re.search(named, done.stdout)


def test_several_labels_from_a_list_reach_the_model(tmp_path):
    tree = Tree(tmp_path)
    for split, given in SPLITS.items():
        moved = packed.flat(tree.data(split), given)
        rows = [f"{one.name},{packed.LABELS[one.target]}|photo\n" for one in moved]
        (tree.data(split) / "photos.csv").write_text("path,labels\n" + "".join(rows))

    done = tree.train()

    assert done.returncode == 0, done.stderr
    assert tree.description["labels"] == sorted([*packed.LABELS, "photo"])
    metrics = json.loads(tree.output("metrics.jsonl").read_text().splitlines()[-1])
    assert "validation_mean_average_precision" in metrics
