"""TORCH_INDEX in the Dockerfile: a folder of wheels beside it is where torch comes from."""

import os
import shlex
import shutil
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# the options that this machine needs to build at all, as build_and_push.sh has them
OPTIONS = shlex.split(os.environ.get("BUILD_ARGS", ""))


def make_wheel(folder: Path, name: str, version: str) -> None:
    """A wheel that stands for another build: nothing in it but its version."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", f"__version__ = {version!r}\n")
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def context(tmp_path):
    # all of it: the builder makes the stages before the one that is asked for, too, and has them
    # already where the files are those of the image
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    for name in (line[1:] for line in lines if line.startswith("!")):
        if (ROOT / name).is_dir() and name != "torch-index":
            shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
        elif (ROOT / name).is_file():
            shutil.copy(ROOT / name, tmp_path)
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "torch-index").mkdir()
    make_wheel(tmp_path / "torch-index", "torch", "2.14.1+cpu")
    make_wheel(tmp_path / "torch-index", "torchvision", "0.29.1+cpu")
    return tmp_path


def build(docker, context, index):
    return docker(
        "build",
        "--quiet",
        *OPTIONS,
        f"--build-arg=TORCH_INDEX={index}",
        "--target=torch-folder",
        str(context),
        timeout=600,
    )


def test_folder_beside_the_dockerfile_gives_its_own_build(docker, context):
    built = build(docker, context, "torch-index")
    assert built.returncode == 0, built.stdout + built.stderr
    name = built.stdout.strip().splitlines()[-1]

    listed = docker("run", "--rm", name, "pip", "list", "--format=freeze").stdout.split()
    docker("image", "rm", name)

    assert "torch==2.14.1+cpu" in listed
    assert "torchvision==0.29.1+cpu" in listed
    assert any(line.startswith("sympy==") for line in listed)
    assert not any(line.startswith("nvidia") for line in listed)


def test_folder_that_is_not_there_ends_the_build(docker, context):
    built = build(docker, context, "torch-idnex")

    assert built.returncode != 0
    assert "name it torch-index and put it beside the Dockerfile" in built.stdout + built.stderr
