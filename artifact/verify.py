"""Loads an artifact in a fresh process and classifies its reference image, as the server will.

    python -m artifact.verify FOLDER

Prints one JSON object: `distances` of each engine from the recorded float32 probabilities, and
`refused`, why the compiled engine, if there is one, is of no use. Exits 1 with the reason on
standard error where the artifact does not load or does not answer.
"""

import gc
import json
import sys
from pathlib import Path

from artifact import archive, compiled
from artifact.reference import distance

ENGINES = {"torch-float32": "float32", "torch-bfloat16": "bfloat16"}


def compiled_distance(folder: Path) -> dict[str, float]:
    """Of the compiled engine, where there is one. Raises archive.ArtifactError."""
    described = archive.read_description(folder)
    if not described.compiled:
        return {}
    classifier = compiled.CompiledClassifier(folder, threads=1)
    answer = classifier.reference()
    if "torch" in sys.modules:  # a server that has none would not get so far
        raise archive.ArtifactError("the compiled engine needs torch")
    return {classifier.name: distance(answer, described.reference_probabilities)}


def torch_distances(folder: Path) -> dict[str, float]:
    """Engine -> distance. Raises archive.ArtifactError."""
    from artifact.inference import Classifier

    seen = {}
    for engine, precision in ENGINES.items():
        classifier = Classifier(folder, precision=precision)
        expected = classifier.description.reference_probabilities
        seen[engine] = distance(classifier.reference(), expected)
    return seen


def main(folder: Path) -> int:
    refused, distances = "", {}
    try:
        distances = compiled_distance(folder)
    except archive.ArtifactError as error:
        refused = str(error)
    try:
        distances |= torch_distances(folder)
    except archive.ArtifactError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({"distances": distances, "refused": refused}))
    return 0


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    gc.freeze()  # or the interpreter looks for cycles among torch's objects, for a second
    sys.exit(code)
