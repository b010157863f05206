"""Several containers on one network train one network, as the platform's hosts do."""

import json
import os
import re
import subprocess
import time
import uuid

import pytest

from tests.cluster import resource_config
from tests.tree import TINY, Tree

pytestmark = pytest.mark.usefixtures("docker")

ENDLESS = {"epochs": "100000", "log_interval": "5"}
PHOTOS = 40 if os.environ.get("SOAK") == "1" else 16
TOGETHER_SECONDS = 30


class Cluster:
    """Containers with names on a Docker network of their own; `algo-1` leads."""

    def __init__(self, docker, image, folder, count):
        self.docker, self.image = docker, image
        self.id = f"cluster-{uuid.uuid4().hex[:8]}"
        self.names = [f"algo-{number + 1}" for number in range(count)]
        self.trees = {name: Tree(folder / name) for name in self.names}
        for name, tree in self.trees.items():
            # an interface that does not exist, as local mode names one
            tree.config("resourceconfig.json", resource_config(self.names, name, "ethwe"))
            tree.channel("train", PHOTOS)
            tree.channel("validation", 6)
        docker("network", "create", self.id, check=True)

    def container(self, name):
        return f"{self.id}-{name}"

    def start(self, *names, options=(), **hyperparameters):
        for name in names or self.names:
            self.trees[name].config("hyperparameters.json", {**TINY, **hyperparameters})
            self.docker(
                "run", "--detach", "--name", self.container(name), "--network", self.id,
                "--network-alias", name, "--shm-size=64m", "--env", f"TRAINING_JOB_NAME={self.id}",
                "--env", "OMP_NUM_THREADS=1", "-v", f"{self.trees[name].root}:/opt/ml",
                *options, self.image, "train", check=True,
            )  # fmt: skip

    def log(self, name):
        told = self.docker("logs", self.container(name))
        return told.stdout + told.stderr

    def wait_for(self, name, words, seconds=120):
        deadline = time.monotonic() + seconds
        while words not in (log := self.log(name)):
            assert time.monotonic() < deadline, log
            assert self.runs(name), log
            time.sleep(0.5)

    def runs(self, name):
        asked = self.docker("inspect", "--format", "{{.State.Running}}", self.container(name))
        return asked.stdout.strip() == "true"

    def wait(self, *names, seconds=180):
        """Exit codes."""
        try:
            done = self.docker("wait", *map(self.container, names or self.names), timeout=seconds)
        except subprocess.TimeoutExpired:
            pytest.fail("\n".join(self.log(name) for name in self.names))
        return [int(code) for code in done.stdout.split()]

    def remove(self):
        self.docker("rm", "--force", *map(self.container, self.names))
        self.docker("network", "rm", self.id)


@pytest.fixture
def cluster(docker, image, tmp_path):
    made = []

    def make(count=2):
        made.append(Cluster(docker, image, tmp_path / f"cluster-{len(made)}", count))
        return made[-1]

    yield make
    for each in made:
        each.remove()


def test_three_containers_with_one_model_folder_are_as_good_as_one(docker, image, cluster):
    three = cluster(3)
    shared = three.trees["algo-1"].root / "model"
    shared.mkdir()
    alone = Tree(three.trees["algo-1"].root.parent / "alone")
    alone.channel("train", PHOTOS)
    alone.channel("validation", 6)
    chosen = {"fine_tune": "head", "hidden_units": "[16]", "epochs": "3", "batch_size": "12"}
    alone.config("hyperparameters.json", {**TINY, **chosen})

    three.start(options=("-v", f"{shared}:/opt/ml/model"), **chosen)
    codes = three.wait()
    one = docker(
        "run", "--rm", "--network=none", "-v", f"{alone.root}:/opt/ml", image, "train"
    )  # fmt: skip

    assert codes == [0, 0, 0], [three.log(name) for name in three.names]
    assert one.returncode == 0, one.stderr
    assert sorted(path.name for path in shared.iterdir()) == [
        "model.json", "reference.png", "weights.safetensors",
    ]  # fmt: skip
    described = json.loads((shared / "model.json").read_text())["metrics"]["validation"]
    reference = alone.description["metrics"]["validation"]
    assert described["images"] == reference["images"] == 18
    assert described["top1_accuracy"] == reference["top1_accuracy"]
    assert described["loss"] == pytest.approx(reference["loss"], abs=1e-4)
    metrics = [re.findall(r"^epoch=", three.log(name), re.MULTILINE) for name in three.names]
    assert [len(lines) for lines in metrics] == [3, 0, 0]


def test_a_killed_container_ends_the_others_with_its_name(docker, cluster):
    two = cluster()
    two.start(**ENDLESS)
    two.wait_for("algo-1", "epoch=1 ")

    docker("kill", "--signal", "KILL", two.container("algo-2"), check=True)
    started = time.monotonic()
    codes = two.wait("algo-1", seconds=60)

    assert codes == [1]
    assert time.monotonic() - started < TOGETHER_SECONDS
    assert two.trees["algo-1"].failure.startswith("peer-lost: algo-2 is lost: ")


def test_a_killed_process_is_the_reason_on_every_host(docker, cluster):
    two = cluster()
    two.start(**ENDLESS)
    two.wait_for("algo-1", "epoch=1 ")

    kill = "import os; [os.kill(int(p), 9) for p in os.listdir('/proc') if p.isdigit() and " \
        "open(f'/proc/{p}/cmdline').read().endswith('-m\\0train\\0')]"  # fmt: skip
    docker("exec", two.container("algo-2"), "python", "-c", kill, check=True)
    started = time.monotonic()
    codes = two.wait(seconds=60)

    assert codes == [1, 1]
    assert time.monotonic() - started < TOGETHER_SECONDS
    assert two.trees["algo-1"].failure.startswith("peer-lost: algo-2 (rank 1) failed first: host-")
    assert two.trees["algo-2"].failure.startswith("host-memory: killed ")


def test_a_cut_network_ends_both_sides(docker, cluster):
    two = cluster()
    two.start(**ENDLESS)
    two.wait_for("algo-1", "epoch=1 ")

    docker("network", "disconnect", "--force", two.id, two.container("algo-2"), check=True)
    started = time.monotonic()
    codes = two.wait(seconds=60)

    assert codes == [1, 1]
    assert time.monotonic() - started < TOGETHER_SECONDS
    assert "algo-2 is lost: " in two.trees["algo-1"].failure
    assert "algo-1 is lost: " in two.trees["algo-2"].failure


def test_a_late_container_is_waited_for_and_a_stop_of_one_stops_both(docker, cluster):
    two = cluster()
    two.start("algo-2", **ENDLESS)
    two.wait_for("algo-2", "calls algo-1")
    time.sleep(8)  # its name does not even resolve
    two.start("algo-1", **ENDLESS)
    two.wait_for("algo-1", "epoch=1 ")

    started = time.monotonic()
    docker("stop", "-t", "60", two.container("algo-2"))
    codes = two.wait(seconds=60)

    assert codes == [0, 0], two.log("algo-1") + two.log("algo-2")
    assert time.monotonic() - started < TOGETHER_SECONDS
    assert two.trees["algo-1"].description["training"]["interrupted"] is True
    assert not (two.trees["algo-2"].root / "model").exists()
