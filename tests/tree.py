"""A job's folder tree for tests, real programs over real photos made in code."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]

TINY = {
    "network": "small_cnn",
    "pretrained": "false",
    "fine_tune": "all",
    "image_size": "32",
    "epochs": "2",
    "batch_size": "8",
    "num_workers": "0",
    "compile_engine": "false",
}

COLOURS = {"blue": (40, 60, 220), "green": (40, 200, 60), "red": (220, 50, 40)}


def photo(colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (48, 40)) -> bytes:
    """A JPEG of one colour with noise: classes that a tiny network learns in two epochs."""
    random = np.random.default_rng(seed)
    pixels = np.array(colour) + random.normal(0, 25, (size[1], size[0], 3))
    stream = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


@dataclass
class Tree:
    root: Path

    def channel(self, name: str, per_class: int = 12, classes: dict | None = None) -> Path:
        """A channel of coloured photos; returns its folder."""
        folder = self.root / "input" / "data" / name
        # no channel holds another one's photos: that would be a fault of the data
        first = 0 if name == "train" else zlib.crc32(name.encode()) % 10**6 * 10**5
        for number, (label, colour) in enumerate((classes or COLOURS).items()):
            (folder / label).mkdir(parents=True, exist_ok=True)
            for at in range(per_class):
                path = folder / label / f"{label}-{at:03d}.jpg"
                path.write_bytes(photo(colour, first + 1000 * number + at))
        return folder

    def data(self, name: str) -> Path:
        """A channel's folder, without photos."""
        folder = self.root / "input" / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def config(self, name: str, value: object) -> None:
        folder = self.root / "input" / "config"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(value))

    def command(self, **hyperparameters: str) -> tuple[list[str], dict[str, str]]:
        self.config("hyperparameters.json", {**TINY, **hyperparameters})
        environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(self.root), "PYTHONPATH": str(ROOT)}
        return [sys.executable, "-m", "container.entrypoint", "train"], environment

    def interrupt(self, pattern: str, **hyperparameters: str) -> tuple[int, str, float]:
        """Runs a job until its log matches, then stops it as the platform does: exit code, log,
        seconds from the signal to the end."""
        command, environment = self.command(**hyperparameters)
        lines = []
        with subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if re.search(pattern, line):
                    break
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            lines += process.stdout.readlines()
            return process.wait(60), "".join(lines), time.monotonic() - started

    def train(
        self, environment: dict[str, str] | None = None, **hyperparameters: str
    ) -> "subprocess.CompletedProcess[str]":
        """Runs the train program to its end."""
        command, own = self.command(**hyperparameters)
        return subprocess.run(
            command, env={**own, **(environment or {})}, cwd=ROOT, capture_output=True, text=True,
            timeout=300,
        )  # fmt: skip

    @property
    def failure(self) -> str:
        return (self.root / "output" / "failure").read_text()

    @property
    def description(self) -> dict:
        return json.loads((self.root / "model" / "model.json").read_text())

    def output(self, name: str) -> Path:
        return self.root / "output" / "data" / name
