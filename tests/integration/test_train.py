"""Whole training jobs by the real program, on photos made in code."""

import json
import re
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from torchvision import models

from artifact.inference import Classifier
from describe import metrics
from tests.tree import Tree, photo

METRICS = [
    "train_loss", "train_top1_accuracy", "validation_loss", "validation_top1_accuracy",
    "learning_rate", "images_per_second", "data_wait_share",
]  # fmt: skip


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "ml")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """One finished job with all three splits, and what it printed."""
    tree = Tree(tmp_path_factory.mktemp("finished"))
    for split, count in (("train", 16), ("validation", 6), ("test", 6)):
        tree.channel(split, count)
    return tree, tree.train(num_workers="2", epochs="3", hidden_units="[16]")


def test_a_job_ends_with_a_model_that_classifies(finished):
    tree, done = finished

    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tree.root / "model").iterdir()) == [
        "model.json", "reference.png", "weights.safetensors",
    ]  # fmt: skip
    described = tree.description
    assert described["labels"] == ["blue", "green", "red"]
    assert described["metrics"]["test"]["top1_accuracy"] > 0.8
    assert described["training"]["interrupted"] is False
    assert set(described["engines"]) == {"torch-float32", "torch-bfloat16"}
    assert Classifier(tree.root / "model").reference().sum() == pytest.approx(1, abs=1e-4)
    assert not (tree.root / "output" / "failure").exists()


def test_the_log_has_one_metrics_line_per_epoch_and_metrics_jsonl_the_same(finished):
    tree, done = finished

    lines = [line for line in done.stdout.splitlines() if line.startswith("epoch=")]
    assert len(lines) == 3
    for line in lines:
        for name in METRICS:
            assert len(re.findall(rf"{name}=([0-9.eE+-]+)", line)) == 1
    recorded = [json.loads(line) for line in tree.output("metrics.jsonl").read_text().splitlines()]
    assert [metrics["epoch"] for metrics in recorded] == [1, 2, 3]
    assert set(METRICS) <= recorded[0].keys()


def test_the_log_has_the_lines_that_published_tuning_jobs_look_for(finished):
    _, done = finished

    assert len(re.findall(r"Testing Loss: ([0-9\.]+)", done.stdout)) == 1
    assert len(re.findall(r"Testing Accuracy: ([0-9\.]+)", done.stdout)) == 1


def test_the_start_says_what_was_found_and_what_is_in_effect(finished):
    _, done = finished

    assert "photos: 48 train, 18 validation, 18 test; 3 classes" in done.stdout
    assert "blue: 16 train, 6 validation, 6 test" in done.stdout
    assert "hidden_units=[16]" in done.stdout
    assert re.search(r"device: cpu \(\d+ processors\), precision \w+, 2 workers", done.stdout)


def test_the_report_holds_numbers_and_pictures(finished):
    tree, _ = finished

    evaluation = json.loads(tree.output("evaluation.json").read_text())
    assert evaluation["split"] == "test"
    assert sum(map(sum, evaluation["confusion"])) == evaluation["images"] == 18
    assert set(evaluation["per_class"]["red"]) == {"precision", "recall", "images"}
    for name in ("confusion_matrix.png", "curves.png", "samples.png"):
        assert tree.output(name).read_bytes().startswith(b"\x89PNG")


def test_a_restart_with_checkpoints_present_resumes_and_says_so(finished):
    tree, _ = finished
    weights = (tree.root / "model" / "weights.safetensors").read_bytes()

    done = tree.train(num_workers="2", epochs="3", hidden_units="[16]")

    assert re.search(r"resume: epoch 4, step \d+ from ", done.stdout)
    assert "epoch=" not in done.stdout
    assert (tree.root / "model" / "weights.safetensors").read_bytes() == weights


def test_the_metric_definitions_find_each_number_of_the_log_once_an_epoch(finished):
    _, done = finished

    found = {one["Name"]: re.findall(one["Regex"], done.stdout + done.stderr)
             for one in metrics.definitions()}  # fmt: skip

    counts = {name: len(values) for name, values in found.items()}
    assert counts == {
        **dict.fromkeys(metrics.EPOCH, 3), **dict.fromkeys(metrics.SEVERAL_LABELS, 0),
        **dict.fromkeys(metrics.END, 1),
    }  # fmt: skip


def test_a_run_with_other_hyperparameters_does_not_take_up_the_checkpoint(finished):
    tree, _ = finished

    done = tree.train(num_workers="2", epochs="1", hidden_units="[16]", lr="0.002")

    assert "resume: none" in done.stdout
    assert "learning_rate 0.001 -> 0.002" in done.stdout


def saved_tensors(folder):
    """What smdebug's own reader finds; in a process of its own, for it warns at import."""
    program = (
        "import json, sys; from smdebug.trials import create_trial; "
        "from smdebug.core.modes import ModeKeys as M; t = create_trial(sys.argv[1]); "
        "print(json.dumps([t.tensor_names(), t.steps(mode=M.TRAIN), t.steps(mode=M.EVAL)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_stop_in_mid_epoch_keeps_a_usable_model_and_resumes_bit_for_bit(tree, tmp_path):
    tree.channel("train", 60)  # 45 updates an epoch: the signal may be late
    tree.channel("validation", 4)
    chosen = {"epochs": "3", "batch_size": "4", "log_interval": "5", "augmentation": "strong"}
    whole = Tree(tmp_path / "whole")
    whole.channel("train", 60)
    whole.channel("validation", 4)
    assert whole.train(**chosen).returncode == 0

    code, log, seconds = tree.interrupt(r"epoch 2/3: ", **chosen)

    assert code == 0, log
    assert seconds < 30
    assert "interrupted: epoch 2" in log
    assert tree.description["training"]["interrupted"] is True
    assert tree.description["training"]["final_evaluation"] == "skipped"
    assert Classifier(tree.root / "model")

    resumed = tree.train(**chosen)

    resume = re.search(r"resume: epoch 2, step (\d+) ", resumed.stdout)
    assert resume, resumed.stdout
    assert 45 < int(resume[1]) < 90
    one, other = (load_file(t.root / "model" / "weights.safetensors") for t in (tree, whole))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert (
        tree.description["metrics"]["best_epoch"]["validation_loss"]
        == (whole.description["metrics"]["best_epoch"]["validation_loss"])
    )


def test_a_stop_in_the_first_epoch_still_leaves_a_usable_model(tree):
    tree.channel("train", 200)

    code, log, seconds = tree.interrupt(
        r"resume: none", batch_size="8", image_size="96", epochs="50"
    )

    assert code == 0, log
    assert seconds < 30
    assert tree.description["training"]["epochs_completed"] == 0
    assert Classifier(tree.root / "model")


def test_a_damaged_checkpoint_is_named_and_passed_over(tree):
    tree.channel("train", 8)
    assert tree.train(epochs="2").returncode == 0
    newest = sorted((tree.root / "checkpoints").glob("*/step-*"))[-1]
    tensors = newest / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-100])

    done = tree.train(epochs="2")

    assert f"checkpoint {newest.name} is damaged" in done.stdout
    assert "resume: epoch 2" in done.stdout
    assert done.returncode == 0


def test_awkward_photos_are_used_or_named(tree):
    folder = tree.channel("train", 30)
    (folder / "red" / "stray.gif").write_bytes(b"GIF89a\x01\x00\x01\x00\x00\x00\x00;")
    (folder / "red" / "cut.jpg").write_bytes(photo((220, 50, 40), 1)[:-300])
    (folder / "blue" / "empty.jpg").write_bytes(b"")
    (folder / "blue" / "notes.txt").write_text("no photo")

    done = tree.train(epochs="1")

    assert done.returncode == 0, done.stderr
    for line in ("bad file train/red/stray.gif: ", "bad file train/red/cut.jpg: damaged photo",
                 "bad file train/blue/empty.jpg: 0 bytes"):  # fmt: skip
        assert line in done.stdout
    assert "notes.txt" in done.stdout


@pytest.mark.parametrize("form", ["pth", "safetensors", "artifact"])
def test_pretrained_weights_come_from_the_channel(tree, form, finished):
    tree.channel("train", 6)
    channel = tree.root / "input" / "data" / "pretrained"
    channel.mkdir()
    chosen = {"network": "small_cnn", "pretrained": "true", "fine_tune": "head", "epochs": "1"}
    source = finished[0].root / "model"
    weights = load_file(source / "weights.safetensors")
    if form == "artifact":
        for path in source.iterdir():
            (channel / path.name).write_bytes(path.read_bytes())
    elif form == "safetensors":
        (channel / "w.safetensors").write_bytes((source / "weights.safetensors").read_bytes())
    else:
        torch.save(weights, channel / "w.pth")

    done = tree.train(**chosen)

    assert done.returncode == 0, done.stderr
    assert "pretrained: " in done.stdout
    mine = load_file(tree.root / "model" / "weights.safetensors")
    assert torch.equal(mine["0.weight"], weights["0.weight"])


def test_pretrained_weights_come_from_the_images_own_folder(tree, finished, tmp_path):
    tree.channel("train", 6)
    source = finished[0].root / "model" / "weights.safetensors"
    (tmp_path / "small_cnn.safetensors").write_bytes(source.read_bytes())

    done = tree.train(
        {"PRETRAINED_DIR": str(tmp_path)}, pretrained="true", fine_tune="head", epochs="1"
    )

    assert done.returncode == 0, done.stderr
    assert "backbone from small_cnn.safetensors" in done.stdout


def test_a_published_state_dict_fits_a_network_with_another_head(tree):
    tree.channel("train", 4)
    channel = tree.root / "input" / "data" / "pretrained"
    channel.mkdir()
    torch.manual_seed(0)
    published = models.resnet18(weights=None)
    torch.save(published.state_dict(), channel / "resnet18-f37072fd.pth")

    done = tree.train(network="resnet18", pretrained="true", fine_tune="head", epochs="1")

    assert done.returncode == 0, done.stderr
    mine = load_file(tree.root / "model" / "weights.safetensors")
    assert torch.equal(
        mine["layer4.1.conv2.weight"], published.state_dict()["layer4.1.conv2.weight"]
    )
    assert mine["fc.weight"].shape == (3, 512)


def test_a_random_frozen_backbone_is_warned_of_and_not_refused(tree):
    tree.channel("train", 4)

    done = tree.train(pretrained="false", fine_tune="head", epochs="1")

    assert done.returncode == 0, done.stderr
    assert "warning: the backbone is random and frozen" in done.stdout


@pytest.mark.parametrize("batch_size", ["1", "7", "500"])
def test_any_legal_batch_size_trains(tree, batch_size):
    tree.channel("train", 7)

    done = tree.train(batch_size=batch_size, epochs="1", augmentation="crop")

    assert done.returncode == 0, done.stderr


def test_the_platforms_hook_configuration_is_honoured_and_its_files_read_back(tree):
    tree.channel("train", 8)
    tensors = tree.root / "output" / "tensors"
    tree.config("debughookconfig.json", {
        "S3OutputPath": "s3://bucket/prefix",
        "LocalPath": str(tensors),
        "HookParameters": {"save_interval": "1"},
        "CollectionConfigurations": [
            {"CollectionName": "gradients", "CollectionParameters": None},
            {"CollectionName": "relu", "CollectionParameters": {"include_regex": ".*relu.*output"}},
        ],
    })  # fmt: skip

    done = tree.train(network="resnet18", fine_tune="head", pretrained="false", epochs="1")

    assert done.returncode == 0, done.stderr
    names, train_steps, evaluation_steps = saved_tensors(tensors)
    assert "gradient/ResNet_fc.weight" in names
    assert not [name for name in names if name.startswith("gradient/ResNet_layer1")]
    assert any("relu_output" in name for name in names)
    assert "CrossEntropyLoss_output_0" in names
    assert train_steps
    assert evaluation_steps


def test_an_interval_turns_the_hook_on_and_its_absence_never_imports_smdebug(tree):
    tree.channel("train", 8)

    saved = tree.train(epochs="1", debug_save_interval="2", precision="bfloat16")
    without = tree.train({"PYTHONPROFILEIMPORTTIME": "1"}, epochs="1")

    assert saved.returncode == 0, saved.stderr
    assert "turned off" not in saved.stdout
    assert "gradient/SmallCNN_0.weight" in saved_tensors(tree.root / "output" / "tensors")[0]
    assert "torch.nn" in without.stderr
    assert "smdebug" not in without.stderr


def test_a_hook_that_cannot_work_never_ends_the_job(tree):
    tree.channel("train", 8)
    tree.config("debughookconfig.json", {"LocalPath": "/proc/tensors", "CollectionConfigurations": [
        {"CollectionName": "mine", "CollectionParameters": None}]})  # fmt: skip

    done = tree.train(epochs="1")

    assert done.returncode == 0, done.stderr
    assert "debugger: " in done.stdout
