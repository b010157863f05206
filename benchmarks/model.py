"""An artifact with random weights: what is measured does not depend on what a network has learned.

    python -m benchmarks.model FOLDER [--network resnet50] [--image-size 224]

It gets the compiled engine that a job would give it, in int8, unjudged: random weights have no
accuracy to lose.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from artifact import network
from artifact.archive import Description
from artifact.preprocess import Preprocessing
from train import export
from train.compiled.order import Made
from train.compiled.worth import worth

CLASSES = 100


def make(model_dir: Path, name: str, image_size: int) -> None:
    """Exported as a job does it: written, loaded by a fresh process, checked, put in place."""
    torch.manual_seed(0)
    description = Description(
        network=name,
        labels=[f"class-{number:03d}" for number in range(CLASSES)],
        preprocessing=Preprocessing.for_size(image_size),
        versions=export.versions(),
    )
    made = network.build(name, CLASSES, (), image_size)
    wanted = worth(name, image_size)
    there = all(importlib.util.find_spec(each) for each in ("openvino", "nncf"))
    export.export(made, description, model_dir, compile_engine if wanted and there else _none)


def _none(folder: Path) -> dict[str, Any]:
    return {}


def compile_engine(folder: Path) -> dict[str, Any]:
    """In a process of its own, as a job does it; its libraries print what is no result."""
    command = [sys.executable, "-P", "-m", "benchmarks.engine", str(folder)]
    project = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    subprocess.run(command, stdout=sys.stderr, check=True, env=environment)
    return asdict(Made("int8", "made for its speed: random weights have no accuracy to lose"))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", default="resnet50", help="default resnet50")
    parser.add_argument("--image-size", type=int, default=224, help="default 224")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    add_options(parser)
    options = parser.parse_args()
    make(options.folder, options.network, options.image_size)


if __name__ == "__main__":
    main()
