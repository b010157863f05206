"""An artifact with random weights: what is measured does not depend on what a network has learned.

python -m benchmarks.model FOLDER [--network resnet50] [--image-size 224]
"""

import argparse
from pathlib import Path

import torch

from artifact import network
from artifact.archive import Description
from artifact.preprocess import Preprocessing
from train import export

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
    export.export(made, description, model_dir)


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
