"""Several hosts that train one network: real supervisors and processes, on loopback addresses."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file

from artifact.inference import Classifier
from tests import cluster
from tests.debugged import modes, trial
from tests.tree import COLOURS, ROOT, Tree

HEAD = {
    # frozen normalisation: the parts of an update do not depend on how it is cut; and in bfloat16
    # their sums do, where a processor has it
    "precision": "float32", "fine_tune": "head", "hidden_units": "[16]", "epochs": "20",
    "batch_size": "4", "augmentation": "strong", "feature_cache": "false", "log_interval": "5",
}  # fmt: skip
RESUMED = [HEAD, {**HEAD, "fine_tune": "all"}][: 2 if os.environ.get("SOAK") == "1" else 1]
ENDLESS = {"epochs": "100000", "batch_size": "8", "log_interval": "5"}
TOGETHER_SECONDS = 30


def photos(hosts):
    hosts.channel("train", 20)
    hosts.channel("validation", 6)


@pytest.fixture
def hosts(tmp_path):
    with cluster.hosts(tmp_path) as made:
        photos(made)
        yield made


def assert_ended_together(hosts, *words, code=1):
    """All hosts within the time from now, each with the words in its reason."""
    started = time.monotonic()
    codes = hosts.wait(TOGETHER_SECONDS + 30)

    assert codes == [code] * len(codes), [hosts.log(number) for number in range(len(codes))]
    assert time.monotonic() - started < TOGETHER_SECONDS
    for tree in hosts.trees:
        first = tree.failure.splitlines()[0]
        for word in words:
            assert word in first
        assert not (tree.root / "model" / "model.json").exists()


def weights(tree):
    return load_file(tree.root / "model" / "weights.safetensors")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two hosts that have trained a head to the end."""
    with cluster.hosts(tmp_path_factory.mktemp("finished")) as made:
        photos(made)
        made.start(**HEAD)
        assert made.wait() == [0, 0], made.log(0) + made.log(1)
        yield made


def test_two_hosts_make_the_updates_of_one(finished, tmp_path):
    alone = Tree(tmp_path / "alone")
    alone.channel("train", 20)
    alone.channel("validation", 6)
    assert alone.train(**HEAD).returncode == 0

    leader, other = finished.trees
    one, two = weights(alone), weights(leader)
    for name, value in one.items():
        assert torch.allclose(value.double(), two[name].double(), atol=1e-4), name
    assert leader.description["metrics"]["validation"]["images"] == 18
    assert (
        leader.description["metrics"]["validation"]["top1_accuracy"]
        == alone.description["metrics"]["validation"]["top1_accuracy"]
    )
    assert leader.description["temperature"] == pytest.approx(
        alone.description["temperature"], rel=0.01
    )
    assert leader.description["training"]["train_images"] == 60
    assert "epoch=20 " in finished.log(0)
    assert "epoch=" not in finished.log(1)
    for folder in ("model", "checkpoints"):
        assert not (other.root / folder).exists()
    own = other.root / "output" / "data" / "profiler"  # what this host measured of itself
    assert [each for each in (other.root / "output").rglob("*")
            if each.is_file() and not each.is_relative_to(own)] == []  # fmt: skip


def test_two_processes_of_one_host_are_as_two_hosts(finished, tmp_path):
    """As two GPUs start them; the supervisor counts no GPUs here, so it is told."""
    tree = Tree(tmp_path / "ml")
    tree.channel("train", 20)
    tree.channel("validation", 6)
    _, environment = tree.command(**HEAD)
    program = (
        "import sys; from container import cluster, opt_ml, supervisor; "
        "sys.exit(supervisor.run_together([sys.executable, '-m', 'train'], cluster.parse({}), 2, "
        "opt_ml.Paths(opt_ml.base())))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], env={**environment, "OMP_NUM_THREADS": "1"}, cwd=ROOT,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("epoch=20 ") == 1
    assert done.stdout.count("hyperparameters:") == 1  # one log per host
    one, other = weights(finished.trees[0]), weights(tree)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("chosen", RESUMED, ids=lambda chosen: chosen["fine_tune"])
def test_a_late_starter_joins_a_stop_of_one_stops_all_and_the_job_resumes_bit_for_bit(
    hosts, finished, chosen, tmp_path
):
    hosts.start(1, **chosen)
    hosts.wait_for(1, "calls 127.0.0.1")
    time.sleep(1)
    hosts.start(0, **chosen)
    hosts.wait_for(0, "epoch 2/20: ")
    hosts.running[1].send_signal(signal.SIGTERM)  # to one of them only
    started = time.monotonic()
    codes = hosts.wait()

    assert codes == [0, 0], hosts.log(0) + hosts.log(1)
    assert time.monotonic() - started < TOGETHER_SECONDS
    assert hosts.trees[0].description["training"]["interrupted"] is True
    assert Classifier(hosts.trees[0].root / "model")
    lines = [line for line in hosts.log(0).splitlines() if line.startswith("interrupted: ")]
    assert lines
    assert lines[0] in hosts.log(1)  # the same step

    hosts.start(**chosen)
    assert hosts.wait() == [0, 0], hosts.log(0) + hosts.log(1)

    assert re.search(r"resume: epoch [2-9], step ", hosts.log(0))
    with whole(finished, chosen, tmp_path / "whole") as reference:
        one, other = weights(reference.trees[0]), weights(hosts.trees[0])
        assert all(torch.equal(one[name], other[name]) for name in one)
        records = [
            json.loads(each.trees[0].output("metrics.jsonl").read_text().splitlines()[-1])
            for each in (reference, hosts)
        ]
    assert records[0]["validation_loss"] == records[1]["validation_loss"]


@contextmanager
def whole(finished, chosen, folder):
    """The same job without a stop."""
    if chosen == HEAD:
        yield finished
        return
    with cluster.hosts(folder) as made:
        photos(made)
        made.start(**chosen)
        assert made.wait() == [0, 0], made.log(0) + made.log(1)
        yield made


def rows(hosts):
    """Per host, the rows of features that it has, and those that it computed."""
    said = [re.search(r"features: (\d+) rows of .*, (\d+) computed", hosts.log(number))
            for number in range(len(hosts.trees))]  # fmt: skip
    return [tuple(map(int, one.groups())) for one in said]


def test_each_host_computes_a_part_of_the_features_and_has_all_of_them(hosts, tmp_path):
    chosen = {**HEAD, "augmentation": "none", "feature_cache": "true"}
    alone = Tree(tmp_path / "alone")
    photos(alone)
    assert alone.train(**chosen).returncode == 0

    hosts.start(**chosen)
    assert hosts.wait() == [0, 0], hosts.log(0) + hosts.log(1)

    assert rows(hosts) == [(78, 39), (78, 39)]
    one, two = weights(alone), weights(hosts.trees[0])
    for name, value in one.items():
        assert torch.allclose(value.double(), two[name].double(), atol=1e-4), name
    assert not (hosts.trees[1].root / "checkpoints").exists()

    hosts.start(**{**chosen, "learning_rate": "0.002"})  # a host gives the other what it has kept
    assert hosts.wait() == [0, 0], hosts.log(0) + hosts.log(1)

    assert rows(hosts) == [(78, 0), (78, 0)]


ALL_WORKERS = {
    "HookParameters": {"include_workers": "all", "save_interval": "2"},
    "CollectionConfigurations": [
        {"CollectionName": "labels", "CollectionParameters": None},
        {"CollectionName": "gradients"},
        {"CollectionName": "relu_output"},
    ],
}


@pytest.mark.filterwarnings("ignore")  # smdebug's own
@pytest.mark.parametrize("workers", ["one", "all"])
def test_hosts_train_on_features_with_a_hook_of_the_leader_or_of_all(hosts, tmp_path, workers):
    for tree in hosts.trees:
        parameters = {**ALL_WORKERS["HookParameters"], "include_workers": workers}
        folder = str(tree.root / "output" / "tensors")
        config = {**ALL_WORKERS, "LocalPath": folder, "HookParameters": parameters}
        tree.config("debughookconfig.json", config)

    hosts.start(**{**HEAD, "feature_cache": "true", "epochs": "2", "debug_budget": "0"})

    assert hosts.wait() == [0, 0], hosts.log(0) + hosts.log(1)
    assert len(rows(hosts)) == 2
    folders = [tree.root / "output" / "tensors" for tree in hosts.trees]
    assert folders[1].exists() == (workers == "all")
    uploaded = tmp_path / "uploaded"  # the platform puts all hosts' files in one place
    for folder in folders[: 2 if workers == "all" else 1]:
        shutil.copytree(folder, uploaded, dirs_exist_ok=True)
    read = trial(uploaded)
    steps = read.steps(mode=modes().TRAIN)
    assert steps[:3] == [0, 2, 4]
    assert read.tensor("gradient/SmallCNN_18.0.weight").steps(modes().TRAIN) == steps
    labels = read.tensor("CrossEntropyLoss_input_1")
    writers = {"one": ["worker_0"], "all": ["worker_0", "worker_1"]}
    assert sorted(labels.workers(0)) == writers[workers]


def uneven_shards(hosts):
    """40 photos of two classes here, 5 of the third there."""
    settings = {"TrainingInputMode": "File", "S3DistributionType": "ShardedByS3Key"}
    parts = [("red", "green"), ("blue",)]
    for number, (tree, labels) in enumerate(zip(hosts.trees, parts, strict=True)):
        shutil.rmtree(tree.root / "input" / "data" / "train")
        tree.channel("train", 5 if number else 20, {label: COLOURS[label] for label in labels})
        tree.config("inputdataconfig.json", {"train": settings, "validation": {}})


@pytest.mark.parametrize("more", [{}, {"fine_tune": "head", "learning_rate": "0.02"}])
def test_shards_of_uneven_size_and_with_other_classes_train_one_network(hosts, more):
    uneven_shards(hosts)

    hosts.start(epochs="4", **more)
    codes = hosts.wait()

    assert codes == [0, 0], hosts.log(0) + hosts.log(1)
    for tree in hosts.trees:  # what a host has seen of its shard, so that a restart sees the same
        assert [*(tree.root / "checkpoints" / "doctor").glob("*.npz")]
    if more:
        assert rows(hosts) == [(40 + 18, 40 + 9), (5 + 18, 5 + 9)]
        hosts.start(epochs="5", **more)  # only the first host has kept its rows
        assert hosts.wait() == [0, 0], hosts.log(0) + hosts.log(1)
        assert rows(hosts) == [(40 + 18, 0), (5 + 18, 5)]
        return
    described = hosts.trees[0].description
    assert described["labels"] == ["blue", "green", "red"]
    assert described["training"]["train_images"] == 45
    assert described["training"]["steps"] == 4 * 6
    assert described["metrics"]["validation"]["top1_accuracy"] > 0.6


def test_what_is_found_in_one_hosts_shard_is_told_of_the_whole(hosts):
    """Also what only both together show: one host's photo that the other has in another class."""
    uneven_shards(hosts)
    data = hosts.trees[1].root / "input" / "data"
    for at in range(3):
        (data / "train" / "blue" / f"bad{at}.jpg").write_bytes(b"no photo")
    red = hosts.trees[0].root / "input" / "data" / "train" / "red" / "red-003.jpg"
    (data / "train" / "blue" / "twin.jpg").write_bytes(red.read_bytes())
    (data / "train" / "blue" / "leak.jpg").write_bytes(
        (data / "validation" / "blue" / "blue-002.jpg").read_bytes()
    )

    hosts.start(epochs="1", data_policy="quarantine")
    codes = hosts.wait()

    assert codes == [0, 0], hosts.log(0) + hosts.log(1)
    leader, other = hosts.trees
    found = json.loads(leader.output("doctor.json").read_text())
    assert found["photos"] == {"train": 40 + 9 + 1, "validation": 18}
    assert found["left_out"] == {"train": 4, "validation": 0}
    assert found["counts"] == {"unreadable": 3, "leak": 1, "conflict": 1, "duplicate": 1}
    named = {each["kind"]: each for each in found["findings"]}
    assert named["unreadable"]["names"] == ["train/blue/bad2.jpg"]
    assert named["unreadable"]["reason"].endswith(", on 127.0.0.2")
    assert named["leak"]["names"] == ["validation/blue/blue-002.jpg", "train/blue/leak.jpg"]
    assert named["conflict"]["names"] == ["train/red/red-003.jpg", "train/blue/twin.jpg"]
    assert not other.output("doctor.json").exists()
    listed = other.output("quarantine") / "127.0.0.2" / "files.jsonl"
    aside = [json.loads(line) for line in listed.read_text().splitlines()]
    assert [each["kind"] for each in aside] == ["unreadable"] * 3 + ["leak"]
    assert all((listed.parent / each["copy"]).is_file() for each in aside)
    log = hosts.log(0)
    assert "photos: 46 train, 18 validation; 3 classes\n  blue: 6 train, 6 validation\n" in log
    assert "has no photos of" not in log
    assert "missing" not in log
    assert leader.description["training"]["train_images"] == 46
    report = leader.output("report.html").read_text()
    assert ", 46 training photos" in report
    assert "<td>46</td>" in re.sub("<td[^>]*>", "<td>", report)


def listed_shards(hosts):
    """Photos in two parts, and one list of all of them that both hosts have."""
    sharded = {"TrainingInputMode": "File", "S3DistributionType": "ShardedByS3Key"}
    inputs = {"train": sharded, "train_lst": {}, "validation": {}}
    parts = [("red", "green"), ("blue",)]
    entries = [f"{label}/{label}-{at:03d}.jpg,{label}" for label in COLOURS for at in range(10)]
    for tree, labels in zip(hosts.trees, parts, strict=True):
        shutil.rmtree(tree.root / "input" / "data" / "train")
        tree.channel("train", 10, {label: COLOURS[label] for label in labels})
        (tree.data("train_lst") / "photos.csv").write_text("\n".join(["path,label", *entries]))
        tree.config("inputdataconfig.json", inputs)


def test_a_list_of_photos_that_hosts_share_out_is_one_data_set(hosts):
    listed_shards(hosts)

    hosts.start(epochs="1")

    assert hosts.wait() == [0, 0], hosts.log(0) + hosts.log(1)
    assert hosts.trees[0].description["training"]["train_images"] == 30
    assert hosts.trees[0].description["labels"] == ["blue", "green", "red"]


@pytest.mark.parametrize("more", [{}, {"fine_tune": "head"}])
def test_a_host_that_has_none_of_the_listed_photos_trains_with_the_others(hosts, more):
    listed_shards(hosts)
    first, second = (tree.root / "input" / "data" / "train" for tree in hosts.trees)
    shutil.move(second / "blue", first)

    hosts.start(epochs="1", **more)

    assert hosts.wait() == [0, 0], hosts.log(0) + hosts.log(1)
    assert hosts.trees[0].description["training"]["train_images"] == 30


def test_an_entry_of_the_list_that_no_host_has_ends_the_job(hosts):
    listed_shards(hosts)
    (hosts.trees[1].root / "input/data/train/blue/blue-003.jpg").unlink()

    hosts.start(epochs="1")

    assert_ended_together(hosts, "photos.csv: 1 entries cannot be used")
    assert "line 5: no host has the file of 'blue/blue-003.jpg,blue'" in hosts.trees[0].failure


def test_replicated_channels_that_differ_are_named_with_their_hosts(hosts):
    next(hosts.trees[1].root.glob("input/data/train/red/*.jpg")).unlink()

    hosts.start(epochs="1")
    hosts.wait_for(0, "cluster: 2 processes on 2 hosts")

    assert_ended_together(hosts, "the train photos differ", "127.0.0.1 has 60", "127.0.0.2 has 59")


def test_a_killed_process_ends_all_hosts_with_its_name(hosts):
    hosts.start(**ENDLESS)
    hosts.wait_for(0, "epoch=2 ")
    os.kill(hosts.rank(1), signal.SIGKILL)

    assert_ended_together(hosts, "killed with SIGKILL")
    assert hosts.trees[0].failure.startswith("peer-lost: 127.0.0.2 (rank 1) failed first: host-m")
    assert hosts.trees[1].failure.startswith("host-memory: ")


def test_a_host_that_never_comes_is_named_on_those_that_did(tmp_path):
    with cluster.hosts(tmp_path, 3, wait_seconds=6) as hosts:
        hosts.channel("train", 4)
        hosts.start(0, 1)

        codes = hosts.wait(40)

        assert codes == [1, 1]
        for tree in hosts.trees[:2]:
            assert tree.failure.startswith("peer-lost: 127.0.0.3 not heard within 6 s")


def test_a_missing_leader_is_named(tmp_path):
    with cluster.hosts(tmp_path, 2, wait_seconds=2) as hosts:
        hosts.start(1)

        assert hosts.wait(30) == [1]
        assert "127.0.0.1, the leader, not heard within 2 s" in hosts.trees[1].failure
