"""The image itself: its programs, and whether its libraries are for this processor."""

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from doctor.check import Finding, ok, problem, warning

PROGRAM = Path(__file__).resolve().parents[1]
WORDS = ("train", "serve")
"""What the platform starts the image with."""
MACHINES = {0x3E: "x86_64", 0xB7: "aarch64"}
"""Of an ELF header."""
NATIVE = ("numpy", "torch")
"""Packages whose libraries are looked at."""
VECTORS = {"x86_64": "avx2", "aarch64": "asimd"}
"""Processor flags without which a network takes several times as long."""


def programs() -> Iterator[Finding]:
    """`train` and `serve` on PATH are ours, also where the platform bypasses the entry point."""
    for word in WORDS:
        found = shutil.which(word)
        ours = PROGRAM / "container" / "bin" / word
        if found is None:
            yield problem("programs", f"no {word} on PATH", f"install {ours} into the environment")
        elif Path(found).read_bytes() != ours.read_bytes():
            yield problem(
                "programs", f"{word} on PATH is {found}, and that is another program",
                f"copy {ours} over it, after all packages are installed",
            )  # fmt: skip
        elif not os.access(found, os.X_OK):
            yield problem("programs", f"{found} has no execute bit", f"chmod +x {found}")
        else:
            yield ok("programs", f"{word} is {found}")


def architecture(cpuinfo: Path = Path("/proc/cpuinfo")) -> Iterator[Finding]:
    here = platform.machine()
    wrong = [f"{path.name} is for {kind}" for path in _libraries()
             if (kind := machine(path)) not in (here, "")]  # fmt: skip
    if wrong:
        yield problem(
            "architecture", f"this machine is {here}; {', '.join(wrong)}",
            f"build the image with --platform linux/{'arm64' if here == 'aarch64' else 'amd64'}",
        )  # fmt: skip
        return
    flag = VECTORS.get(here, "")
    flags = cpuinfo.read_text() if cpuinfo.is_file() else flag
    if flag not in flags:
        yield warning(
            "architecture", f"{here} without {flag}: networks compute several times slower",
            "take a newer instance, or run the image without emulation",
        )  # fmt: skip
        return
    yield ok("architecture", here)


def _libraries() -> list[Path]:
    """Python itself, and a library of each native package; none of them is loaded."""
    found = [Path(sys.executable).resolve()]
    for name in NATIVE:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin:
            found += sorted(Path(spec.origin).parent.rglob("_*.so"))[:3]
    return found


def machine(path: Path) -> str:
    """What an ELF file is for; empty where it is none."""
    with path.open("rb") as file:
        head = file.read(20)
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return ""
    number = int.from_bytes(head[18:20], "little")
    return MACHINES.get(number, f"machine {number:#x}")
