"""One planted fault per class of failure: the reason file says what happened and what to do.

Those that need limits of a container stand in `tests/image/test_limits.py`.
"""

import os
import pickle
import signal
import socket
import subprocess
import time

import psutil
import pytest

from tests import packed
from tests.tree import ROOT, Tree, photo


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "ml")


def assert_failed(tree, done, name, *words):
    """The reason file and the log's last line, both with the answer first."""
    assert done.returncode == 1, done.stdout
    reason = tree.failure
    assert len(reason) <= 1024
    first = reason.splitlines()[0]
    assert first.startswith(f"{name}: ")
    assert "; fix: " in first
    for word in words:
        assert word in reason
    assert done.stderr.splitlines()[-1] == f"job failed: {first}"
    assert not (tree.root / "model" / "model.json").exists()


def test_hyperparameter(tree):
    tree.channel("train", 2)
    started = time.monotonic()

    done = tree.train(learning_rate="fast", optmizer="sgd", batch_size="0")

    assert time.monotonic() - started < 30
    assert_failed(
        tree, done, "hyperparameter", "learning_rate='fast': expected a number above 0",
        "did you mean optimizer?", "batch_size='0'",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("hyperparameters", "words"),
    [
        ({"network": "resnet5O"}, "network='resnet5o': no such network; did you mean resnet50?"),
        ({"network": "vit_b_16", "image_size": "100"}, "image_size=100"),
        ({"network": "resnet18", "batch_size": "1"}, "in mini-batches of 1"),
    ],
)
def test_a_network_that_cannot_be_is_a_hyperparameter_failure(tree, hyperparameters, words):
    tree.channel("train", 2)

    assert_failed(tree, tree.train(**hyperparameters), "hyperparameter", words)


def test_channel(tree):
    assert_failed(tree, tree.train(), "channel", "no train channel")


def test_a_pipe_of_photos_without_records_is_refused_with_what_would_work(tree):
    packed.pipe(tree, "train", photo((200, 0, 0), 0))
    tree.config("inputdataconfig.json", {"train": {"TrainingInputMode": "Pipe"}})

    assert_failed(tree, tree.train(), "channel", "set RecordWrapperType to RecordIO")


def test_hosts_that_do_not_hold_this_one(tree):
    tree.channel("train", 2)
    tree.config("resourceconfig.json", {"hosts": ["algo-1", "algo-2"], "current_host": "algo-3"})

    assert_failed(tree, tree.train(), "channel", "current_host='algo-3'")


def test_data(tree):
    folder = tree.channel("train", 20)
    tree.channel("validation", 2)
    for path in sorted((folder / "red").iterdir())[:8]:
        path.write_bytes(path.read_bytes()[:200])

    done = tree.train()

    assert_failed(tree, done, "data", "8 of 60 files of train cannot be used", "red/red-000.jpg")
    assert "epoch=" not in done.stdout


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(pickle.dumps({"weights": os.system}), id="code"),
        pytest.param(b"not weights at all", id="noise"),
        pytest.param(b"", id="empty"),
    ],
)
def test_pretrained_weights_that_are_no_tensors(tree, content):
    tree.channel("train", 2)
    channel = tree.root / "input" / "data" / "pretrained"
    channel.mkdir()
    (channel / "w.pth").write_bytes(content)

    done = tree.train(pretrained="true", network="resnet18", fine_tune="head")

    assert_failed(tree, done, "pretrained", "w.pth is no file of plain tensors")


def test_pretrained_weights_that_cannot_be_downloaded(tree):
    tree.channel("train", 2)
    cut_off = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}

    done = tree.train(cut_off, pretrained="true", network="resnet18", fine_tune="head")

    assert_failed(
        tree, done, "pretrained", "`pretrained` channel", "into the image", "allow the download"
    )


def test_non_finite_loss(tree):
    tree.channel("train", 8)

    done = tree.train(
        optimizer="sgd", learning_rate="100", momentum="0.999", weight_decay="10",
        warmup_epochs="0", epochs="50", schedule="constant",
    )  # fmt: skip

    assert_failed(tree, done, "non-finite-loss", "nan", "lower learning_rate", "first in ")


def test_interrupted_before_there_was_anything_to_keep(tree, tmp_path):
    tree.channel("train", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a download that waits for ever
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        waiting = {"HTTPS_PROXY": proxy, "https_proxy": proxy, "TORCH_HOME": str(tmp_path)}

        done = kill_child(
            tree, signal.SIGTERM, "downloading", waiting,
            pretrained="true", network="resnet18", fine_tune="head",
        )  # fmt: skip

    assert_failed(tree, done, "interrupted", "SIGTERM")


def test_killed(tree):
    tree.channel("train", 8)

    done = kill_child(tree, signal.SIGKILL, "epoch=1 ")

    assert_failed(tree, done, "host-memory", "SIGKILL from outside")


def test_a_crash_in_native_code_is_internal(tree):
    tree.channel("train", 8)

    assert_failed(tree, kill_child(tree, signal.SIGSEGV, "epoch=1 "), "internal", "SIGSEGV")


def kill_child(tree, signum, when, environment=(), **hyperparameters):
    """Sends a signal to the training process itself, below its supervisor, once the log has
    `when`."""
    command, own = tree.command(**{"epochs": "1000", **hyperparameters})
    with subprocess.Popen(
        command,
        env={**own, **dict(environment)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        out = ""
        for line in process.stdout:
            out += line
            if when in line:
                break
        assert when in out, out + process.stderr.read()
        psutil.Process(process.pid).children()[0].send_signal(signum)
        rest, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, out + rest, err)


def test_a_defect_is_internal_and_its_traceback_in_the_log(tree, tmp_path):
    tree.channel("train", 2)
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "tqdm.py").write_text("raise ZeroDivisionError('planted')\n")

    done = tree.train({"PYTHONPATH": f"{planted}:{ROOT}"})

    assert_failed(tree, done, "internal", "ZeroDivisionError: planted", "tqdm.py")
    assert "Traceback" in done.stderr


def test_the_reason_of_an_earlier_run_does_not_outlive_a_success(tree):
    (tree.root / "output").mkdir(parents=True)
    (tree.root / "output" / "failure").write_text("of an earlier run")
    tree.channel("train", 2)

    assert tree.train(epochs="1").returncode == 0
    assert not (tree.root / "output" / "failure").exists()


def test_damaged_configuration_is_named(tree):
    tree.channel("train", 2)
    command, environment = tree.command()
    (tree.root / "input" / "config" / "hyperparameters.json").write_text("{'epochs': 3}")

    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)

    assert_failed(tree, done, "hyperparameter", "hyperparameters.json is not JSON")
