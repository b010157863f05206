"""Adds an int8 engine to a staged artifact of random weights: python -m benchmarks.engine FOLDER"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from artifact import preprocess
from artifact.inference import Classifier
from benchmarks import photos
from train.compiled import candidates, convert, quantise


def main(folder: Path) -> None:
    classifier = Classifier(folder)
    rules = classifier.description.preprocessing
    with tempfile.TemporaryDirectory() as scratch:
        photos.make(Path(scratch))
        files = sorted(Path(scratch).iterdir())
        seen = np.stack([preprocess.pixels(file.read_bytes(), rules) for file in files])
    floats = convert.convert(classifier)
    candidates.save(quantise.plain(floats, classifier.network, seen), folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
