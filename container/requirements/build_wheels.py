"""Builds the packages that come as source only, and writes the lock that the image installs from.

    python -m container.requirements.build_wheels FOLDER LOCK...

pip checks the source against the lock before it builds; in `FOLDER/locked.txt` the hash of the
wheel that was built stands in its place. So the image needs no compiler, and installs nothing
unchecked.
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from container.requirements.lockfile import Pin, pins

FROM_SOURCE = ("inotify-simple", "pyinstrument-cext", "sagemaker-training")
"""The pinned versions of these have no wheel on the index."""

TOOLS = ("pip", "setuptools")
"""What builds them, by the lock too: in an isolated build pip would take the newest."""


def pip(*arguments: str, chosen: list[Pin]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pin.block for pin in chosen))
        file.flush()
        command = [sys.executable, "-m", "pip", *arguments, "--no-deps", "--require-hashes"]
        subprocess.run([*command, "-r", file.name], check=True)


def main(folder: Path, locks: list[str]) -> None:
    wanted = pins(*locks)
    pip("install", chosen=[pin for pin in pins(*locks, "torch-needs") if pin.name in TOOLS])
    source = [pin for pin in wanted if pin.name in FROM_SOURCE]
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(folder), chosen=source)
    hashes = {
        wheel.name.split("-")[0].lower().replace("_", "-"): hashlib.sha256(
            wheel.read_bytes()
        ).hexdigest()
        for wheel in folder.glob("*.whl")
    }
    missing = set(FROM_SOURCE) - hashes.keys()
    if missing:
        sys.exit(f"not built: {', '.join(sorted(missing))}; no lock of {locks} has them")
    lines = [
        pin.with_hash(hashes[pin.name]) if pin.name in FROM_SOURCE else pin.block for pin in wanted
    ]
    (folder / "locked.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
