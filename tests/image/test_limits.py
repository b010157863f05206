"""What only a container can show: limits of memory, disk and users, each met for real."""

import json
import re
import subprocess
import time

import pytest

from tests.tree import TINY, Tree

pytestmark = pytest.mark.usefixtures("docker")


@pytest.fixture
def tree(tmp_path):
    made = Tree(tmp_path / "ml")
    made.channel("train", 20)
    for name in ("model", "output", "checkpoints"):
        (made.root / name).mkdir()
        (made.root / name).chmod(0o777)
    return made


@pytest.fixture
def train(docker, image, tree):
    """Runs a job in the image with more docker options."""

    def run(*options, **hyperparameters):
        tree.config("hyperparameters.json", {**TINY, **hyperparameters})
        return docker(
            "run", "--rm", "--network=none", "--shm-size=64m", "-v", f"{tree.root}:/opt/ml",
            *options, image, "train",
        )  # fmt: skip

    return run


def assert_failed(tree, done, name, *words):
    assert done.returncode == 1, done.stdout + done.stderr
    reason = tree.failure
    assert len(reason) <= 1024
    assert reason.startswith(f"{name}: ")
    for word in words:
        assert word in reason
    assert not (tree.root / "model" / "model.json").exists()


def test_a_kernel_kill_names_the_limit_and_the_peak(tree, train):
    done = train(
        "--memory=500m", "--memory-swap=500m", network="resnet50", image_size="224", batch_size="64"
    )

    assert_failed(tree, done, "host-memory", "of 0.5 GiB")
    assert "killed by the kernel" in tree.failure or "out of memory" in tree.failure


@pytest.mark.parametrize("folder", ["model", "checkpoints"])
def test_a_full_disk_is_named_and_nothing_half_written_stays(tree, train, folder):
    done = train("--mount", f"type=tmpfs,destination=/opt/ml/{folder},tmpfs-size=300k")

    assert_failed(tree, done, "disk-full", "VolumeSizeInGB")


def test_a_folder_that_may_not_be_written_is_named(tree, train):
    (tree.root / "model").chmod(0o755)

    done = train("--user=12345", "--read-only", "--tmpfs=/tmp")

    assert_failed(tree, done, "permission", "/opt/ml/model")


def test_a_gpu_that_cannot_be_used_is_named_and_not_passed_over(tree, train):
    done = train("-v", "/dev/null:/dev/nvidia0")

    assert_failed(tree, done, "device", "1 GPUs are there")


def test_weights_cannot_be_downloaded_without_a_network(tree, train):
    done = train(network="resnet18", pretrained="true", fine_tune="head")

    assert_failed(tree, done, "pretrained", "`pretrained` channel")


def test_eight_workers_and_a_large_batch_fit_the_default_shared_memory(tree, train):
    tree.channel("train", 700)  # a batch of 12.6 MB for each of eight workers, 101 MB
    tree.channel("validation", 20)

    done = train(image_size="128", num_workers="8", batch_size="256", fine_tune="head",
                 feature_cache="false", epochs="1")  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search("note: /dev/shm has 6[34] MiB free, too little for 8 workers: ", done.stdout)
    assert ", 1 workers, 256 images per update, augmentation" in done.stdout


def test_shared_memory_that_others_fill_is_named(docker, image, tree):
    tree.config("hyperparameters.json", {**TINY, "num_workers": "2", "epochs": "100000",
                                         "image_size": "64", "batch_size": "64"})  # fmt: skip
    name = f"shm-{tree.root.parent.name}"[:60]
    docker("rm", "--force", name)  # of a run that was broken off
    with subprocess.Popen(
        ["docker", "run", "--rm", "--name", name, "--network=none", "--shm-size=64m",
         "-v", f"{tree.root}:/opt/ml", image, "train"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        for line in process.stdout:
            if line.startswith("epoch=1 "):
                break
        docker("exec", name, "sh", "-c", "head -c 70m /dev/zero > /dev/shm/full || true")
        process.stdout.read()
        code = process.wait(120)

    assert code == 1
    assert tree.failure.startswith("shared-memory: ")


@pytest.mark.parametrize("size", ["32", "256"], ids=["batch 32", "batch 256"])
def test_docker_stop_leaves_a_checkpoint_and_a_model_within_thirty_seconds(
    docker, image, tree, size
):
    tree.config("hyperparameters.json", {
        **TINY, "network": "resnet50", "image_size": "224", "batch_size": size, "epochs": "5",
    })  # fmt: skip
    for split in ("train", "validation"):
        tree.channel(split, 100)
    name = f"stop-{size}-{tree.root.parent.name}"[:60]
    docker("rm", "--force", name)  # of a run that was broken off
    with subprocess.Popen(
        ["docker", "run", "--rm", "--name", name, "--network=none", "-v", f"{tree.root}:/opt/ml",
         image, "train"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        for line in process.stdout:
            if line.startswith("resume: none"):
                break
        time.sleep(12)  # into the first update
        started = time.monotonic()
        docker("stop", "-t", "120", name)
        seconds = time.monotonic() - started
        log = process.stdout.read()
        code = process.wait(60)

    assert code == 0, log
    assert seconds < 30
    described = json.loads((tree.root / "model" / "model.json").read_text())
    assert described["training"]["interrupted"] is True
    assert list((tree.root / "checkpoints").glob("*/step-*/checkpoint.json"))


def test_processors_are_planned_from_the_quota(tree, train):
    done = train("--cpus=1", epochs="1")

    assert re.search(r"device: cpu \(1 processors\)", done.stdout), done.stdout


def test_a_terminal_gets_a_bar_and_clean_metric_lines(tree, train):
    done = train("--tty", epochs="2", log_interval="1")

    lines = [line for line in done.stdout.splitlines() if "epoch=" in line]
    assert len(lines) == 2
    assert all(re.fullmatch(r"epoch=\d+ step=\d+ [\w=.e+ -]+", line.strip()) for line in lines)


def test_outputs_belong_to_the_owner_of_the_mounted_folder(docker, image, tree):
    for name in ("model", "output", "checkpoints"):
        subprocess.run(["chown", "12345:12345", str(tree.root / name)], check=False)
    owner = (tree.root / "model").stat().st_uid
    if owner != 12345:
        pytest.skip("only root can give a folder away")
    tree.config("hyperparameters.json", {**TINY, "epochs": "1"})

    docker("run", "--rm", "--network=none", "-v", f"{tree.root}:/opt/ml", image, "train")

    written = [path for name in ("model", "output", "checkpoints")
               for path in (tree.root / name).rglob("*")]  # fmt: skip
    assert written
    assert {path.stat().st_uid for path in written} == {12345}
