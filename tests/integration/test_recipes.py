"""Recipes, several labels and `auto`: from hyperparameters to what the server answers."""

import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from artifact.inference import Classifier
from artifact.preprocess import pixels
from container.opt_ml import Job
from tests import serving
from tests.tree import COLOURS, TINY, Tree, photo
from train import hyperparameters
from train.channels import Splits
from train.distributed import ALONE
from train.finish import finish
from train.gathered import Gathered
from train.index import Index
from train.interruption import Interruption
from train.training import Training

EVERYTHING = {
    "mixup": "0.2", "cutmix": "1", "random_erasing": "0.5", "augmentation": "strong",
    "class_weighting": "balanced", "label_smoothing": "0.1", "test_time_flip": "true",
    "backbone_learning_rate_factor": "0.5",
}  # fmt: skip

AUTO = {"batch_size": "auto", "learning_rate": "auto", "num_workers": "2"}


class Stopping(Interruption):
    """The platform's stop, at the `at`th question whether there was one."""

    def __init__(self, at=None):
        self.asked, self.at = 0, at

    @property
    def requested(self):
        self.asked += 1
        return self.at is not None and self.asked >= self.at

    def protect(self): ...


def channel(root, name, count):
    """Photos of one colour or two, their labels; every fourth is grey and has none."""
    folder = root / "input" / "data" / name
    folder.mkdir(parents=True, exist_ok=True)
    colours = list(COLOURS.values())
    rows = []
    for at in range(count):
        has = [[0], [1, 2], [2, 0], []][at % 4] if at % 8 < 4 else [[1], [0, 1], [2], []][at % 4]
        sides = [colours[label] for label in has] or [(128, 128, 128)]
        halves = [photo(each, at, (24, 32)) for each in (sides[0], sides[-1])]
        (folder / f"{at:03d}.jpg").write_bytes(beside(*halves))
        rows.append([int(label in has) for label in range(len(colours))])
    named = Index.of(name, folder, ((f"{at:03d}.jpg", 0) for at in range(count)))
    targets = np.array(rows, np.uint8)
    return Index(named.channel, named.root, named.names, named.ends, targets)


def beside(left, right):
    whole = Image.new("RGB", (48, 32))
    for place, data in ((0, left), (24, right)):
        whole.paste(Image.open(io.BytesIO(data)), (place, 0))
    stream = io.BytesIO()
    whole.save(stream, "JPEG", quality=95)
    return stream.getvalue()


def trained(root, splits, stop_at=None, **given):
    """One run in this process, to the end of its last epoch or its stop."""
    chosen, _ = hyperparameters.parse({**TINY, **given})
    job = Job.read(root)
    run = Training(job, chosen, splits, Stopping(stop_at), Gathered(ALONE, job))
    run.fit()
    run.profiler.abandon()
    run.scalars.close()
    return run


def same(one, other):
    """Whether two runs ended with the same weights, and keep the same."""
    pairs = [(one.network.state_dict(), other.network.state_dict()), (one.best, other.best)]
    return all(torch.equal(a[name], b[name]) for a, b in pairs for name in a)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A finished run over photos with several labels."""
    root = tmp_path_factory.mktemp("several")
    splits = Splits(
        list(COLOURS), channel(root, "train", 64), channel(root, "validation", 40), None
    )
    run = trained(root, splits, epochs="10", learning_rate="0.01")
    finish(run)
    return root, run


def test_several_labels_are_learned_and_measured(several):
    root, run = several
    assert "<h2>Labels</h2>" in (root / "output" / "data" / "report.html").read_text()

    evaluation = json.loads((root / "output" / "data" / "evaluation.json").read_text())
    assert evaluation["mean_average_precision"] > 0.9
    assert evaluation["images"] == 40
    assert 0 < evaluation["macro_f1"] <= 1
    assert set(evaluation["per_class"]["red"]) == {
        "precision", "recall", "f1", "average_precision", "images",
    }  # fmt: skip
    best = max(run.state.history, key=lambda seen: seen["validation_mean_average_precision"])
    assert (
        run.state.best["validation_mean_average_precision"]
        == (best["validation_mean_average_precision"])
    )


def test_the_server_gives_every_label_its_own_probability(several, tmp_path):
    root, run = several
    described = json.loads((root / "model" / "model.json").read_text())
    assert described["multi_label"] is True
    validation = run.splits.validation
    two, none = (next(at for at, row in enumerate(validation.targets) if row.sum() == count)
                 for count in (2, 0))  # fmt: skip

    with serving.running(root, tmp_path / "log") as server:
        seen = [server.invoke(validation.read(at)).json()["predictions"][0] for at in (two, none)]
        rows = server.invoke(validation.read(two), accept="text/csv").text
        verbose = server.invoke(validation.read(two), accept="application/json;verbose").json()

    answers = [one["predicted_labels"] for one in seen]
    assert answers == [given(run, two), given(run, none)]
    probabilities = {one["label"]: one["probability"] for one in seen[0]["top_k"]}
    assert len([value for value in probabilities.values() if value > 0.5]) >= 2
    assert sum(map(float, rows.split(","))) > 1.2
    assert verbose["predicted_labels"] == answers[0]
    for name, threshold in zip(described["labels"], described["thresholds"], strict=True):
        assert (probabilities[name] >= threshold) == (name in answers[0])


def given(run, position):
    row = run.splits.validation.targets[position]
    return [label for label, has in zip(run.labels, row, strict=True) if has]


def test_folders_can_be_trained_as_several_labels_with_everything_found(tmp_path):
    tree = Tree(tmp_path / "ml")
    for split, count in (("train", 12), ("validation", 6), ("test", 6)):
        tree.channel(split, count)

    done = tree.train(multi_label="1", class_weighting="balanced", **AUTO)

    assert done.returncode == 0, done.stderr
    assert len(re.findall(r" validation_mean_average_precision=[01]\.\d{4} ", done.stdout)) == 2
    assert len(re.findall(r"Testing Mean Average Precision: ([0-9.]+)", done.stdout)) == 1
    assert tree.description["multi_label"] is True
    assert len(tree.description["thresholds"]) == 3
    assert tree.output("confusion_matrix.png").is_file()
    assert "  learning_rate=auto\n" in done.stdout
    found = re.search(r"learning_rate: auto is (\S+)\n", done.stdout)
    recorded = tree.description["hyperparameters"]
    assert (recorded["batch_size"], recorded["learning_rate"]) == (8, float(found[1]))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    tree = Tree(tmp_path_factory.mktemp("photos"))
    names = list(COLOURS)
    made = []
    for split, count in (("train", 7), ("validation", 4)):
        folder = tree.channel(split, count)
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.jpg"))
        made.append(Index.of(split, folder, ((name, names.index(name.split("/")[0]))
                                             for name in files)))  # fmt: skip
    return Splits(names, *made, None)


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("whole"), photos, **EVERYTHING)


@pytest.mark.parametrize("stop_at", [3, 4, 6])
def test_a_run_with_every_recipe_resumes_bit_for_bit(photos, whole, tmp_path, stop_at):
    stopped = trained(tmp_path, photos, stop_at, **EVERYTHING)
    resumed = trained(tmp_path, photos, **EVERYTHING)

    assert stopped.state.interrupted
    assert resumed.state.step == whole.state.step == 6
    assert same(resumed, whole)


def test_the_average_is_what_is_kept_and_not_what_learns(photos, whole, tmp_path):
    run = trained(tmp_path, photos, ema_decay="0.9", schedule="constant")
    plain = trained(tmp_path, photos, ema_decay="0", schedule="constant")

    assert run.state.best_epoch == 2
    averaged = run.average.state_dict()["0.weight"]
    assert torch.equal(run.best["0.weight"], averaged)
    assert torch.equal(run.network.state_dict()["0.weight"], plain.network.state_dict()["0.weight"])
    assert not torch.equal(run.best["0.weight"], plain.best["0.weight"])


def test_a_stop_in_the_first_epoch_keeps_the_average(photos, tmp_path):
    run = trained(tmp_path, photos, 3)
    averaged = run.average.state_dict()["0.weight"].clone()

    finish(run)

    assert run.best is None
    assert torch.equal(run.network.state_dict()["0.weight"], averaged)


def test_a_mirrored_photo_is_answered_alike_in_evaluation_and_serving(photos, tmp_path):
    # served in float32, so that in bfloat16 the loss would be another
    finish(trained(tmp_path, photos, test_time_flip="true", precision="float32"))
    classifier = Classifier(tmp_path / "model")
    preprocessing = classifier.description.preprocessing
    index = photos.validation
    images = np.stack([pixels(index.read(at), preprocessing) for at in range(len(index))])

    answers = classifier.classify(images)
    mirrored = classifier.classify(np.ascontiguousarray(images[:, :, ::-1]))

    assert np.allclose(answers, mirrored, atol=1e-6)
    evaluation = json.loads((tmp_path / "output" / "data" / "evaluation.json").read_text())
    loss = -np.log(answers[np.arange(len(index)), index.targets]).mean()
    assert evaluation["loss"] == pytest.approx(loss, abs=1e-5)


def test_auto_finds_the_same_again_and_a_restart_takes_it_from_the_checkpoint(
    photos, tmp_path, capsys
):
    first, printed = trained(tmp_path / "one", photos, **AUTO), capsys.readouterr().out
    restarted, again = trained(tmp_path / "one", photos, **AUTO), capsys.readouterr().out
    repeated = trained(tmp_path / "two", photos, **{**AUTO, "num_workers": "0"})

    assert len(re.findall(r"^  \d\.\de[+-]\d\d: [\d.]+$", printed, re.MULTILINE)) >= 5
    assert first.state.found == repeated.state.found == restarted.state.found
    assert 1e-6 < first.chosen.learning_rate <= 0.1
    assert first.chosen.batch_size == 8
    assert restarted.chosen == first.chosen
    assert "resume: epoch 3" in again
    assert "rising rate" not in again
    assert same(first, repeated)


def test_a_stop_during_the_search_leaves_a_run_that_searches_again(photos, tmp_path):
    stopped = trained(tmp_path, photos, 4, learning_rate="auto")
    resumed = trained(tmp_path, photos, learning_rate="auto")
    whole = trained(tmp_path / "whole", photos, learning_rate="auto")

    assert stopped.state.interrupted
    assert "learning_rate" not in stopped.state.found
    assert resumed.state.found == whole.state.found
    assert same(resumed, whole)
