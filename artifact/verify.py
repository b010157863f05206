"""Loads an artifact in a fresh process and classifies its reference image, as the server will.

    python -m artifact.verify FOLDER

Prints one JSON object: the distance of each engine from the recorded float32 probabilities. Exits 1
with the reason on standard error where the artifact does not load or does not answer.
"""

import gc
import json
import sys
from pathlib import Path

from artifact import archive
from artifact.inference import Classifier, distance

ENGINES = {"torch-float32": "float32", "torch-bfloat16": "bfloat16"}


def distances(folder: Path) -> dict[str, float]:
    """Engine -> distance. Raises archive.ArtifactError."""
    seen = {}
    for engine, precision in ENGINES.items():
        classifier = Classifier(folder, precision=precision)
        expected = classifier.description.reference_probabilities
        seen[engine] = distance(classifier.reference(), expected)
    return seen


def main(folder: str) -> int:
    try:
        print(json.dumps(distances(Path(folder))))
    except archive.ArtifactError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1])
    gc.freeze()  # or the interpreter looks for cycles among torch's objects, for a second
    sys.exit(code)
