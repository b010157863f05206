"""install_torch.sh, with tiny wheels in place of the real ones and no network."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CONTAINER = Path(__file__).resolve().parents[3] / "container"


def make_wheel(folder: Path, name: str, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", f"__version__ = {version!r}\n")
        # what an index for processors only lacks: with dependencies this could not be installed
        needs = "Requires-Dist: nvidia-cublas\n" if name == "torch" else ""
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


def locked(*wheels: Path) -> str:
    """Lines of a lock for these wheels."""
    lines = []
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{name}=={version} --hash=sha256:{digest}\n")
    return "".join(lines)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A scratch virtual environment, first on PATH, whose ordinary index is a folder of ours."""
    root = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", str(root / "venv")], check=True)
    return {
        "PATH": f"{root / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_FIND_LINKS": str(root / "ordinary"),
        "PIP_NO_CACHE_DIR": "1",
        "PIP_NO_INDEX": "1",
    }


@pytest.fixture
def ordinary(environment):
    folder = Path(environment["PIP_FIND_LINKS"])
    shutil.rmtree(folder, ignore_errors=True)
    yield folder
    command = ["python", "-m", "pip", "uninstall", "-q", "-y", "torch", "torchvision", "filelock"]
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)


@pytest.fixture
def requirements(tmp_path, ordinary):
    """The project's own torch.in beside locks of tiny wheels."""
    folder = tmp_path / "requirements"
    folder.mkdir()
    shutil.copy(CONTAINER / "requirements" / "torch.in", folder)
    pins = dict(line.split()[0].split("==") for line in _pinned(folder / "torch.in"))
    torch = [make_wheel(ordinary, name, version) for name, version in pins.items()]
    needs = make_wheel(ordinary, "filelock", "4.2.11")
    (folder / "torch.txt").write_text(locked(*torch, needs))
    (folder / "torch-needs.txt").write_text(locked(needs))
    return folder


def _pinned(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if "==" in line]


def install(environment, *arguments) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(CONTAINER / "install_torch.sh"), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def versions(environment) -> dict[str, str]:
    listed = subprocess.run(
        ["python", "-m", "pip", "list", "--format=freeze"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(line.split("==") for line in listed.splitlines())


def test_ordinary_index_gives_what_the_lock_says(environment, requirements):
    done = install(environment, requirements)

    assert done.returncode == 0, done.stderr
    installed = versions(environment)
    assert installed["torch"] == "2.14.1"
    assert installed["torchvision"] == "0.29.1"
    assert installed["filelock"] == "4.2.11"


def test_another_file_than_the_locked_one_is_refused(environment, requirements, ordinary):
    with zipfile.ZipFile(next(ordinary.glob("torch-*")), "a") as wheel:
        wheel.writestr("torch/more.py", "")

    done = install(environment, requirements)

    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert "torch" not in versions(environment)


def test_folder_gives_its_own_build_and_the_rest_comes_by_hash(environment, requirements, tmp_path):
    index = tmp_path / "torch-index"
    make_wheel(index, "torch", "2.14.1+cpu")
    make_wheel(index, "torchvision", "0.29.1+cpu")

    done = install(environment, requirements, index)

    assert done.returncode == 0, done.stderr
    installed = versions(environment)
    assert installed["torch"] == "2.14.1+cpu"
    assert installed["torchvision"] == "0.29.1+cpu"
    assert installed["filelock"] == "4.2.11"


def test_folder_without_the_pinned_version_is_refused(environment, requirements, tmp_path):
    index = tmp_path / "torch-index"
    make_wheel(index, "torch", "2.13.0+cpu")
    # else the ordinary index stands in, as PIP_FIND_LINKS adds to the folder
    alone = {key: value for key, value in environment.items() if key != "PIP_FIND_LINKS"}

    done = install(alone, requirements, index)

    assert done.returncode != 0
    assert "torch==2.14.1" in done.stderr


def test_index_that_is_not_there_is_refused(environment, requirements):
    done = install(environment, requirements, "torch-idnex")

    assert done.returncode == 2
    assert "'torch-idnex' is neither a URL nor a folder that is there" in done.stderr
