"""A job with an entry script of its own, as for the framework's container."""

import json
import subprocess
import time

import pytest

from tests.tree import Tree

SCRIPT = """
import argparse, json, os, signal, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
parser.add_argument("--lr", type=float)
chosen = parser.parse_args()
import torch
photos = sum(len(files) for _, _, files in os.walk(os.environ["SM_CHANNEL_TRAIN"]))
print(f"epochs={chosen.epochs} lr={chosen.lr} photos={photos}", flush=True)
if chosen.epochs == 0:
    sys.exit(3)
if chosen.epochs == 1000:
    def stop(signum, frame):
        open(os.path.join(os.environ["SM_MODEL_DIR"], "stopped"), "w").close()
        sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    print("waiting", flush=True)
    time.sleep(100)
torch.save(torch.nn.Linear(2, 1).state_dict(), os.path.join(os.environ["SM_MODEL_DIR"], "m.pth"))
"""


@pytest.fixture
def tree(tmp_path):
    made = Tree(tmp_path / "ml")
    made.channel("train", 2)
    made.config("resourceconfig.json", {
        "current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0",
    })  # fmt: skip
    made.config("inputdataconfig.json", {"train": {"TrainingInputMode": "File"}})
    code = made.root / "code"
    code.mkdir()
    (code / "script.py").write_text(SCRIPT)
    for name in ("model", "output"):
        (made.root / name).mkdir()
    return made


def command(image, tree, name=None, **hyperparameters):
    tree.config("hyperparameters.json", {
        **hyperparameters, "sagemaker_program": '"script.py"',
        "sagemaker_submit_directory": '"/opt/ml/code"',
    })  # fmt: skip
    named = ["--name", name] if name else []
    # the toolkit waits until every host of the job has an address
    return ["docker", "run", "--rm", "--network=none", "--add-host=algo-1:127.0.0.1", *named,
            "-v", f"{tree.root}:/opt/ml", image, "train"]  # fmt: skip


def run(image, tree, **hyperparameters):
    return subprocess.run(
        command(image, tree, **hyperparameters), capture_output=True, text=True, timeout=120
    )


def test_a_script_trains_as_in_the_frameworks_container(docker, image, tree):
    done = run(image, tree, epochs="3", lr="1e-05")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "epochs=3 lr=1e-05 photos=6" in done.stdout
    assert (tree.root / "model" / "m.pth").is_file()
    assert not (tree.root / "output" / "failure").exists()


def test_a_script_that_fails_says_so(docker, image, tree):
    done = run(image, tree, epochs="0", lr="1")

    assert done.returncode == 1
    assert "ExecuteUserScriptError" in tree.failure


def test_a_stop_reaches_the_script(docker, image, tree):
    name = f"script-{tree.root.parent.name}"[:60]
    docker("rm", "--force", name)  # of a run that was broken off
    with subprocess.Popen(
        command(image, tree, name, epochs="1000", lr="1"), stdout=subprocess.PIPE, text=True
    ) as process:
        assert any("waiting" in line for line in process.stdout)
        started = time.monotonic()
        docker("stop", "-t", "60", name)
        process.stdout.read()

    assert process.returncode == 0
    assert time.monotonic() - started < 30
    assert (tree.root / "model" / "stopped").is_file()
    assert json.loads((tree.root / "input" / "config" / "hyperparameters.json").read_text())
