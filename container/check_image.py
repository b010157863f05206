"""What must hold in the finished image: its build runs this, and ends with every mistake found.

python -P -m container.check_image [serve]

`serve` is for the slim image: the server alone, with a compiled engine's runtime.
"""

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from container.requirements.lockfile import direct

PROGRAM = Path(__file__).resolve().parents[1]
PROGRAMS = ("train", "serve")
LOCKS = ("torch", "serve", "app", "platform")
ABSENT = ("torch", "torchvision", "nncf", "pip")
"""In the slim image."""
COMPILERS = ("as", "c++", "cc", "clang", "cmake", "g++", "gcc", "ld", "make")

MODULES = {
    "nvidia-ml-py": "pynvml",
    "pillow": "PIL",
    "protobuf": "google.protobuf",
    "smdebug": "smdebug.pytorch",
    "tensorboardx": "tensorboardX",
}
"""Where the module to import is not named like its package."""


def programs(ours: tuple[str, ...], others: tuple[str, ...]) -> list[str]:
    """The first of each name on PATH is ours, or the environment's own."""
    wrong = []
    own = Path(sys.prefix, "bin")
    for name in (*ours, *others):
        found = shutil.which(name)
        if found != str(own / name):
            wrong.append(f"{name} on PATH is {found}, not {own / name}")
    for name in ours:
        source = PROGRAM / "container" / "bin" / name
        installed = own / name
        if installed.read_bytes() != source.read_bytes():
            wrong.append(f"{installed} is not ours")
        if not os.access(installed, os.X_OK):
            wrong.append(f"{installed} has no execute bit: chmod +x container/bin/{name}")
    return wrong


def line_ends() -> list[str]:
    files = [*PROGRAM.rglob("*.sh"), *(PROGRAM / "container" / "bin").iterdir()]
    return [f"{path} has CR LF line ends" for path in files if b"\r" in path.read_bytes()]


def folders() -> list[str]:
    """Mounts hide what lies under /opt/ml, and any user must be able to read everything else."""
    wrong = (
        ["/opt/ml is there: the platform's mounts would hide it"]
        if Path("/opt/ml").exists()
        else []
    )
    for root in (PROGRAM, Path(sys.prefix)):
        for path in root.rglob("*"):
            needed = 0o005 if path.is_dir() else 0o004
            if not path.is_symlink() and path.stat().st_mode & needed != needed:
                wrong.append(f"{path} cannot be read by every user")
    return wrong


def compilers() -> list[str]:
    found = [path for name in COMPILERS if (path := shutil.which(name))]
    return [f"{path} is in the image, which needs no compiler" for path in found]


def imports(locks: tuple[str, ...]) -> list[str]:
    """Every direct requirement can be imported."""
    wrong = []
    for name in [name for lock in locks for name in direct(lock)]:
        try:
            importlib.import_module(MODULES.get(name, name.replace("-", "_")))
        except Exception as error:  # whatever a package raises, the list goes on
            wrong.append(f"import of {name}: {type(error).__name__}: {error}")
    return wrong


def versions() -> list[str]:
    """All versions agree."""
    check = subprocess.run(
        [sys.executable, "-m", "pip", "check"], stdout=subprocess.PIPE, text=True, check=False
    )
    return [f"pip check: {check.stdout.strip()}"] if check.returncode else []


def absent() -> list[str]:
    found = [name for name in ABSENT if importlib.util.find_spec(name)]
    return [f"{name} is in the image, which is to be slim" for name in found]


def main(kind: str) -> None:
    if kind == "serve":
        wrong = [*programs(("serve",), ("python", "gunicorn")), *imports(("serve",)), *absent()]
        importlib.import_module("serve.app")  # what `serve.boot` imports last
    else:
        wrong = [*programs(PROGRAMS, ("python", "pip", "gunicorn")), *imports(LOCKS), *versions()]
    wrong += [*line_ends(), *folders(), *compilers()]
    if wrong:
        sys.exit("\n".join(["the image is not as it should be:", *wrong]))
    print("the image is as it should be")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "all")
