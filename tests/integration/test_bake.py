"""Published weights baked at build time, from a server of our own with files made here."""

import functools
import hashlib
import os
import pickle
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torchvision import models

from artifact import network as networks
from tests.tree import ROOT, Tree
from train import published

NAME = "squeezenet1_1"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    """A folder, and the URL under which its files are served."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{made.server_port}/models/"
        made.shutdown()


PATCHED = """
import sys
from torchvision import models
weights = models.get_model_weights({name!r})
# a made file has a hash of its own
type(weights.DEFAULT).url = property(lambda self: "https://download.invalid/models/" + {file!r})
from train import bake
bake.PAUSES_SECONDS = (0, 0)
bake.main()
"""


def serve(folder, data, name=None, network=NAME):
    """Puts a file where the server has it, under a name with its hash; returns the name."""
    name = name or f"{network}-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / name).write_bytes(data)
    return name


def saved(value, path):
    torch.save(value, path)
    return path.read_bytes()


def bake(asked, folder, index, file=None):
    """Runs the build's own command; with `file`, as if that were the published one."""
    program = ["-m", "train.bake"]
    if file:
        program = ["-c", PATCHED.format(name=NAME, file=file)]
    return subprocess.run(
        [sys.executable, *program, asked, str(folder)], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PRETRAINED_INDEX": index}, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(5)
    return models.squeezenet1_1(weights=None).state_dict()


def test_baked_weights_are_the_published_tensors_and_a_job_starts_from_them(
    tmp_path, server, weights
):
    folder, url = server
    file = serve(folder, saved(weights, tmp_path / "w.pth"))

    done = bake(f" {NAME},", tmp_path / "baked", url, file)

    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "baked").iterdir()] == [f"{NAME}.safetensors"]
    baked = load_file(tmp_path / "baked" / f"{NAME}.safetensors")
    assert baked.keys() == weights.keys()
    assert all(torch.equal(baked[key], weights[key]) for key in weights)
    assert (tmp_path / "baked" / f"{NAME}.safetensors").stat().st_mode & 0o044 == 0o044

    tree = Tree(tmp_path / "ml")
    tree.channel("train", 4)
    trained = tree.train(
        {"PRETRAINED_DIR": str(tmp_path / "baked")}, network=NAME, pretrained="true",
        fine_tune="head", epochs="1",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert f"backbone from {NAME}.safetensors" in trained.stdout


def test_a_file_of_another_hash_is_refused_with_both_named(tmp_path, server, weights):
    folder, url = server
    data = saved(weights, tmp_path / "w.pth")
    serve(folder, data, published.of(NAME).name)

    done = bake(NAME, tmp_path / "baked", url)

    assert done.returncode == 1
    assert f"{NAME}: {url}{NAME}-b8a52dc0.pth is not the published file" in done.stderr
    assert f"begins with {hashlib.sha256(data).hexdigest()[:8]}" in done.stderr
    assert not list((tmp_path / "baked").iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(lambda path: pickle.dumps({"weights": os.system}), "no file of plain tensors",
                     id="code"),
        pytest.param(lambda path: saved({"a": torch.ones(1)}, path), "has no features.0.weight",
                     id="another network"),
        pytest.param(lambda path: saved([1], path), "holds a list", id="list"),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_weights_is_refused_and_its_code_never_run(
    tmp_path, server, content, message
):
    folder, url = server
    file = serve(folder, content(tmp_path / "w.pth"))

    done = bake(NAME, tmp_path / "baked", url, file)

    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "baked").iterdir())


def test_all_mistakes_come_at_once_before_any_download(tmp_path):
    done = bake("resnet5O,small_cnn", tmp_path / "baked", "ftp://host/")

    assert done.returncode == 1
    assert "PRETRAINED=resnet5O: no network with published weights; did you mean resnet50?" in (
        done.stderr
    )
    assert "PRETRAINED=small_cnn" in done.stderr
    assert "PRETRAINED_INDEX=ftp://host/" in done.stderr


def test_a_server_without_the_file_is_named(tmp_path, server):
    _, url = server

    done = bake(NAME, tmp_path / "baked", url)

    assert done.returncode == 1
    assert f"{url}{NAME}-b8a52dc0.pth cannot be downloaded: HTTP Error 404" in done.stderr


class Cut(BaseHTTPRequestHandler):
    """Answers with a tenth of what it promises, and hangs up."""

    asked = 0

    def do_GET(self):  # noqa: N802  the base class's name
        type(self).asked += 1
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 100)

    def log_message(self, *arguments):
        pass


def test_a_connection_that_is_cut_is_tried_again_and_named(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Cut) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{made.server_port}/"
        done = bake(NAME, tmp_path / "baked", url, f"{NAME}-00000000.pth")
        made.shutdown()

    assert done.returncode == 1
    assert "cannot be downloaded: cut off after 100 of 1000 bytes" in done.stderr
    assert Cut.asked == 3


def test_nothing_asked_for_leaves_an_empty_folder(tmp_path):
    assert bake("", tmp_path / "baked", "").returncode == 0
    assert not list((tmp_path / "baked").iterdir())


@pytest.mark.parametrize("name", published.names())
def test_every_published_file_carries_its_hash(name):
    assert len(published.of(name).digest) >= 8


@pytest.mark.parametrize(
    ("name", "old"),
    [
        ("densenet121", lambda key: key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.")),
        ("vit_b_16", lambda key: key.replace("mlp.0.", "mlp.linear_1.")
         .replace("mlp.3.", "mlp.linear_2.")),
    ],
)  # fmt: skip
def test_tensors_of_old_names_are_found(name, old):
    with networks.WithoutWeights():
        own = networks.build(name, 1000).state_dict()
    # the first block of a densenet file has layers whose names do not change
    before = {old(key) if "denselayer" in key or "mlp" in key else key: value
              for key, value in own.items()}  # fmt: skip
    assert before.keys() != own.keys()

    assert published.renamed(before).keys() == own.keys()


def test_the_dockerfile_copies_all_that_the_command_imports(tmp_path):
    """The build's stage has these files and no others, so that it is seldom run again."""
    stage = (ROOT / "Dockerfile").read_text().split("AS weights")[1].split("\nFROM")[0]
    for line in stage.splitlines():
        if line.startswith("COPY "):
            *sources, target = line.split()[1:]
            (tmp_path / target).mkdir()
            for source in sources:
                (tmp_path / target / Path(source).name).write_bytes((ROOT / source).read_bytes())

    done = subprocess.run(
        [sys.executable, "-P", "-c",
         "import sys; sys.path[:] = [sys.argv[3]] + [p for p in sys.path if 'packages' in p or "
         "'python' in p]; import runpy; sys.argv[1:] = sys.argv[1:3]; "
         "runpy.run_module('train.bake', run_name='__main__')",
         "", str(tmp_path / "baked"), str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "baked").is_dir()
